"""A person's drafts over HTTP: `GET /escalations/{id}/drafts/`, `POST /escalations/{id}/draft`."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from msgspec import Meta

from escalations.actions import drafts as actions
from escalations.desk.verbs import respond
from escalations.permissions import FORMS
from escalations.selectors import drafts, escalations
from memoryhub.core.fields import Shape
from memoryhub.interface.http.headers import check_media_type
from memoryhub.interface.http.json import parse_object
from memoryhub.interface.http.shapes import convert
from memoryhub.interface.pages.base import PageView, SessionView

if TYPE_CHECKING:
    Form = str
else:
    Form = Literal[FORMS]
Name = Annotated[str, Meta(max_length=20_000)]


class DraftBody(Shape, kw_only=True):
    """`fields`: those of the form that differ from what it was filled with; without any, the draft is deleted."""

    form: Form
    fields: Annotated[dict[Name, str], Meta(max_length=1_000)]


class KeepDraft(SessionView):
    """Store a form's draft; returns when. 413 past DRAFT_BYTES, 422 past DRAFTS_PER_PERSON."""

    def post(self, request: HttpRequest, *args: Any, **url: Any) -> HttpResponseBase:
        check_media_type(request.META.get("CONTENT_TYPE"), request.META.get("HTTP_CONTENT_ENCODING"))
        body = convert(parse_object(request.body, max_bytes=settings.DRAFT_BYTES), DraftBody)
        kept_at = actions.keep(self.viewer, escalation_id=url["escalation_id"], form=body.form, fields=body.fields)
        return respond({"kept_at": kept_at})


class Drafts(PageView):
    """One's own drafts of a case."""

    def show(self, **url: Any) -> HttpResponse:
        row = escalations.escalation(self.viewer, url["escalation_id"])
        return respond({"drafts": drafts.of_case(self.viewer, row.id)})

"""People's verbs: `POST /escalations/{id}/{verb}` with a session and a CSRF token.

Each door parses, calls its action, and responds from a second transaction: to JSON clients with the escalation, else
with a redirect and a sentence on the next page.
"""

from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

import msgspec
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from escalations import permissions
from escalations.actions import answers, claims, drafts, learnings, notes
from escalations.desk import argument_fields as forms
from escalations.desk import learning_form
from escalations.json_text import arguments_of, merge
from escalations.models import Audience, Verdict
from escalations.schemas import Allowed
from escalations.selectors import escalations
from escalations.standing import in_states
from escalations.states import IN_PROGRESS
from memoryhub.core import idempotency, unseen
from memoryhub.core.errors import Code, FieldError, HubError, Invalid, NotFound, UnsupportedMediaType
from memoryhub.core.fields import Content, EmptyBody, JsonObject, Shape, Text
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.etags import make_tag
from memoryhub.interface.http.headers import check_media_type, idempotency_key
from memoryhub.interface.http.json import dump, member_text, parse_object
from memoryhub.interface.http.shapes import convert
from memoryhub.interface.pages.base import SessionView, wants_json
from memoryhub.memory.models import Signal

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "")
_CSRF = "csrfmiddlewaretoken"


class NoteBody(Shape, kw_only=True):
    text: Text
    audience: Audience = Audience.EVERYONE


class DecideBody(Shape, kw_only=True):
    verdict: Allowed
    message: Text | None = None
    arguments: JsonObject | None = None
    done: Text | None = None
    next: Text | None = None
    hand_back: bool = True


class FinishBody(Shape, kw_only=True):
    done: Text
    outcome: Literal["done", "failed"] = "done"


class CancelBody(Shape, kw_only=True):
    reason: Text


class LearnBody(Shape, kw_only=True):
    signal_type: Signal
    details: Content
    context: JsonObject = msgspec.field(default_factory=dict)


class Door(SessionView):
    """The door of one verb. `action`: takes the members of the body by name; null ones are left to its defaults."""

    verb: Any = None  # permissions.Verb
    action: Any = None
    shape: type[Shape] = EmptyBody

    def post(self, request: HttpRequest, *args: Any, **url: Any) -> HttpResponseBase:
        escalation_id: UUID = url["escalation_id"]
        try:
            body = convert(self.body(request, escalation_id), self.shape)
            once(self.viewer, request, lambda: self.act(escalation_id, body))
            if (form := getattr(body, "verdict", self.verb.form)) in permissions.FORMS:
                drafts.drop(self.viewer, escalation_id=escalation_id, form=form)
        except HubError as error:
            if wants_json(request) or error.status in (403, 404):
                raise
            messages.error(request, error.detail)
            return see(escalation_id)
        return self.reply(request, escalation_id)

    def act(self, escalation_id: UUID, body: Shape, **more: Any) -> UUID:
        """Call the action."""
        sent = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not None}
        self.action(self.viewer, escalation_id=escalation_id, **sent, **more)
        return escalation_id

    def reply(self, request: HttpRequest, escalation_id: UUID) -> HttpResponse:
        """JSON, whose headers say what a page shows and where it goes; or a redirect and that sentence there."""
        following = None if self.verb.leads_to == "queue" else escalation_id
        if not wants_json(request):
            messages.success(request, self.verb.done)
            return see(following)
        response = self.answer(escalation_id)
        response["X-Done"] = self.verb.done
        if self.verb.leads_to:
            response["X-Leads-To"] = address_of(following)
        return response

    def answer(self, escalation_id: UUID) -> HttpResponse:
        """The escalation as it is now."""
        with viewer_transaction(self.viewer, read_only=True):
            row = escalations.escalation(self.viewer, escalation_id)
            return respond(escalations.show(row), {"ETag": make_tag(row.id, row.version, row.change)})

    def body(self, request: HttpRequest, escalation_id: UUID) -> dict[str, Any]:
        """The body, from JSON or from a form; an absent one is empty."""
        if request.META.get("CONTENT_LENGTH") in ("", "0", None):
            return {}
        if (request.content_type or "") not in _FORMS:
            check_media_type(request.META.get("CONTENT_TYPE"), request.META.get("HTTP_CONTENT_ENCODING"))
            return parse_object(request.body)
        if "HTTP_CONTENT_ENCODING" in request.META or request.FILES:
            raise UnsupportedMediaType("Send JSON, or a form without files and without Content-Encoding.")
        return self.form(form_fields(request), escalation_id)

    def form(self, fields: dict[str, str], escalation_id: UUID) -> dict[str, Any]:
        """The body that a form's fields stand for, without empty ones."""
        return {name: text for name, text in fields.items() if text.strip()}


class Decide(Door):
    """An answer. The arguments of an edit are stored as the JSON text that was sent, or that the form makes."""

    arguments_json: str | None = None

    def body(self, request: HttpRequest, escalation_id: UUID) -> dict[str, Any]:
        made = super().body(request, escalation_id)
        if self.arguments_json is None and made.get("arguments") is not None:
            self.arguments_json = member_text(request.body, "arguments")
        return made

    def form(self, fields: dict[str, str], escalation_id: UUID) -> dict[str, Any]:
        typed = {name: fields.pop(name) for name in list(fields) if name.startswith(f"{forms.PREFIX}/")}
        made = super().form(fields, escalation_id)
        made["hand_back"] = made.get("hand_back", "true") == "true"
        if made.get("verdict") == Verdict.EDIT:
            self.arguments_json = edited(self.viewer, escalation_id, typed)
            made["arguments"] = parse_object(self.arguments_json.encode())
        return made

    def act(self, escalation_id: UUID, body: Shape, **more: Any) -> UUID:
        return super().act(escalation_id, body, arguments_json=self.arguments_json)


class Learn(Door):
    """The answer becomes a learning of the team; a second request returns the one that is there."""

    def form(self, fields: dict[str, str], escalation_id: UUID) -> dict[str, Any]:
        made: dict[str, Any] = super().form(fields, escalation_id)
        made |= {name: unseen.read(made[name]) for name in ("details", "context") if name in made}
        if "context" in made:
            made["context"] = learning_form.read_context(made["context"])
        return made

    def answer(self, escalation_id: UUID) -> HttpResponse:
        """The learning."""
        with viewer_transaction(self.viewer, read_only=True):
            found = escalations.learning_of(self.viewer, escalation_id)
            if found is None:
                raise NotFound()
            return respond(found.show())


class Next(Door):
    """Claim the most urgent free one: responds with it, or with 204 and how many others have claimed."""

    verb = permissions.VERBS["next"]

    def post(self, request: HttpRequest, *args: Any, **url: Any) -> HttpResponseBase:
        convert(self.body(request, UUID(int=0)), self.shape)
        claimed = once(self.viewer, request, self.claim)
        if claimed is not None:
            return self.reply(request, claimed)
        with viewer_transaction(self.viewer, read_only=True):
            count = in_states(escalations.escalations(self.viewer), IN_PROGRESS).count()
        none = f"Nothing is free: {count} {'is' if count == 1 else 'are'} claimed." if count else "Nothing is waiting."
        if wants_json(request):
            return HttpResponse(status=204, headers={"Cache-Control": "no-store", "X-Held": str(count), "X-Done": none})
        messages.info(request, none)
        return see(None)

    def claim(self) -> UUID | None:
        """Claim one; returns which."""
        claimed = claims.next_free(self.viewer)
        return claimed.id if claimed else None


def once(viewer: Viewer, request: HttpRequest, act: Callable[[], UUID | None]) -> UUID | None:
    """The escalation that the request with this Idempotency-Key has changed; else the one that it changes now.

    Browsers repeat a request that a broken connection may have lost, also on their own. Raises NotAllowed as replay().
    """
    key = idempotency_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
    if key is None:
        return act()
    is_form = request.content_type in _FORMS
    sent = request.POST.urlencode().encode() if is_form else request.body  # of a form in parts, the body is gone
    asked = idempotency.Repeatable.of(viewer.membership, key, "POST", request.get_full_path(), sent)
    with viewer_transaction(viewer):
        if (known := idempotency.replay(asked)) is not None:
            return UUID(known)
        done = act()
        if done is not None:
            idempotency.remember(asked, str(done))
        return done


def edited(viewer: Viewer, escalation_id: UUID, typed: dict[str, str]) -> str:
    """The action's arguments with a person's changes, as JSON text. Raises Invalid, NotFound."""
    with viewer_transaction(viewer, read_only=True):
        action = read_text(escalations.escalation(viewer, escalation_id)).get("action")
    if not action:
        return "{}"  # there is nothing to edit, which the action refuses
    proposed = arguments_of(action)
    return merge(proposed, forms.changes(proposed, action.get("schema"), typed))


def form_fields(request: HttpRequest) -> dict[str, str]:
    """A form's fields. Raises Invalid for one sent twice, and for NUL."""
    found: dict[str, str] = {}
    for name, texts in request.POST.lists():
        if name == _CSRF:
            continue
        if len(texts) != 1:
            raise Invalid(errors=(FieldError(f"/{name[:100]}", Code.REPEATED, "This was sent twice."),))
        if "\0" in name or "\0" in texts[0]:
            raise Invalid("The form has a NUL character.")
        found[name] = texts[0].replace("\r\n", "\n")
    return found


def see(escalation_id: UUID | None) -> HttpResponse:
    """303 to the escalation's page, or to the queue."""
    return HttpResponse(status=303, headers={"Location": address_of(escalation_id)})


def address_of(escalation_id: UUID | None) -> str:
    """The escalation's page, or the queue."""
    return f"/escalations/{escalation_id}/" if escalation_id else "/"


def respond(data: Any, headers: dict[str, str] | None = None) -> HttpResponse:
    """JSON that is not cached."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return HttpResponse(dump(data), content_type="application/json", headers=headers)


View = Callable[..., HttpResponseBase]


def door(name: str, action: Any, shape: type[Shape] = EmptyBody, *, of: type[Door] = Door) -> tuple[str, View]:
    """The last part of a verb's address, and its door as a view."""
    verb = permissions.VERBS[name]
    return verb.segment, of.as_view(verb=verb, action=action, shape=shape)


# By the last part of its address: what urls.py serves.
VERBS = dict(
    (
        door("claim", claims.claim),
        door("release", claims.release),
        door("keep", claims.keep),
        door("note", notes.note, NoteBody),
        door("decide", answers.decide, DecideBody, of=Decide),
        door("hand_back", answers.hand_back),
        door("finish", answers.finish, FinishBody),
        door("cancel", answers.cancel, CancelBody),
        door("learn", learnings.learn, LearnBody, of=Learn),
    )
)

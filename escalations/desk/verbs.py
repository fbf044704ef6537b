"""People's verbs: `POST /escalations/{id}/{verb}` with a session and a CSRF token.

Each door parses, calls its action, and responds from a second transaction: to JSON clients with the escalation, else
with a redirect and a sentence on the next page.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal
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
from escalations.models import Audience, Escalation, Verdict
from escalations.permissions import Verb
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
    """The door of one verb. `action`: takes the members of the body by name."""

    verb: ClassVar[Verb]
    shape: ClassVar[type[Shape]] = EmptyBody
    action: ClassVar[Callable[..., Escalation]]

    def post(self, request: HttpRequest, *args: Any, **url: Any) -> HttpResponseBase:
        escalation_id: UUID = url["escalation_id"]
        try:
            body = convert(self.body(request, escalation_id), self.shape)
            done = once(self.viewer, request, lambda: self.act(escalation_id, body)) or Escalation(id=escalation_id)
            if (form := getattr(body, "verdict", self.verb.form)) is not None:
                drafts.drop(self.viewer, escalation_id=escalation_id, form=form)
        except HubError as error:
            if wants_json(request) or error.status in (403, 404):
                raise
            messages.error(request, error.detail)
            return see(escalation_id)
        return self.reply(request, done)

    def act(self, escalation_id: UUID, body: Any) -> Escalation:
        """Call the action."""
        return self.action(self.viewer, escalation_id=escalation_id, **msgspec.structs.asdict(body))

    def reply(self, request: HttpRequest, done: Escalation) -> HttpResponse:
        """JSON, whose headers say what a page shows and where it goes; or a redirect and that sentence there."""
        if not wants_json(request):
            messages.success(request, self.verb.done)
            return see(None if self.verb.leads_to == "queue" else done.id)
        response = self.answer(done)
        response["X-Done"] = self.verb.done
        if self.verb.leads_to:
            response["X-Leads-To"] = address_of(None if self.verb.leads_to == "queue" else done.id)
        return response

    def answer(self, done: Escalation) -> HttpResponse:
        """The escalation as it is now."""
        with viewer_transaction(self.viewer, read_only=True):
            row = escalations.escalation(self.viewer, done.id)
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


class Claim(Door):
    verb = permissions.VERBS["claim"]
    action = staticmethod(claims.claim)


class Release(Door):
    verb = permissions.VERBS["release"]
    action = staticmethod(claims.release)


class Keep(Door):
    verb = permissions.VERBS["keep"]
    action = staticmethod(claims.keep)


class WriteNote(Door):
    verb = permissions.VERBS["note"]
    shape = NoteBody

    def act(self, escalation_id: UUID, body: NoteBody) -> Escalation:
        return notes.note(self.viewer, escalation_id=escalation_id, text=body.text, audience=body.audience).escalation


class Decide(Door):
    verb = permissions.VERBS["decide"]
    shape = DecideBody
    arguments_json: str | None = None  # the edited arguments, as they are stored

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

    def act(self, escalation_id: UUID, body: DecideBody) -> Escalation:
        return answers.decide(
            self.viewer,
            escalation_id=escalation_id,
            verdict=body.verdict,
            message=body.message or "",
            arguments=body.arguments,
            arguments_json=self.arguments_json,
            done=body.done or "",
            next=body.next or "",
            hand_back=body.hand_back,
        )


class HandBack(Door):
    verb = permissions.VERBS["hand_back"]
    action = staticmethod(answers.hand_back)


class Finish(Door):
    verb = permissions.VERBS["finish"]
    shape = FinishBody
    action = staticmethod(answers.finish)


class Cancel(Door):
    verb = permissions.VERBS["cancel"]
    shape = CancelBody
    action = staticmethod(answers.cancel)


class Learn(Door):
    """The answer becomes a learning of the team; a second request returns the one that is there."""

    verb = permissions.VERBS["learn"]
    shape = LearnBody

    def form(self, fields: dict[str, str], escalation_id: UUID) -> dict[str, Any]:
        made: dict[str, Any] = super().form(fields, escalation_id)
        made |= {name: unseen.read(made[name]) for name in ("details", "context") if name in made}
        if "context" in made:
            made["context"] = learning_form.read_context(made["context"])
        return made

    def act(self, escalation_id: UUID, body: LearnBody) -> Escalation:
        learnings.learn(
            self.viewer,
            escalation_id=escalation_id,
            signal_type=body.signal_type,
            details=body.details,
            context=body.context,
        )
        return Escalation(id=escalation_id)

    def answer(self, done: Escalation) -> HttpResponse:
        """The learning."""
        with viewer_transaction(self.viewer, read_only=True):
            found = escalations.learning_of(self.viewer, done.id)
            if found is None:
                raise NotFound()
            return respond(found.show(), {})


class Next(Door):
    """Claim the most urgent free one: responds with it, or with 204 and how many others have claimed."""

    verb = permissions.VERBS["next"]

    def post(self, request: HttpRequest, *args: Any, **url: Any) -> HttpResponseBase:
        convert(self.body(request, UUID(int=0)), self.shape)
        done = once(self.viewer, request, lambda: claims.next_free(self.viewer))
        if done is not None:
            return self.reply(request, done)
        with viewer_transaction(self.viewer, read_only=True):
            count = in_states(escalations.escalations(self.viewer), IN_PROGRESS).count()
        none = nothing_free(count)
        if wants_json(request):
            return HttpResponse(status=204, headers={"Cache-Control": "no-store", "X-Held": str(count), "X-Done": none})
        messages.info(request, none)
        return see(None)


def nothing_free(held: int) -> str:
    """What a page says where there is no escalation to claim."""
    if not held:
        return "Nothing is waiting."
    return f"Nothing is free: {held} {'is' if held == 1 else 'are'} claimed."


def once(viewer: Viewer, request: HttpRequest, act: Callable[[], Escalation | None]) -> Escalation | None:
    """What the request with this Idempotency-Key has done, its id alone; else what it does now.

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
            return Escalation(id=UUID(known))
        done = act()
        if done is not None:
            idempotency.remember(asked, str(done.id))
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


_DOORS = (Claim, Release, Keep, WriteNote, Decide, HandBack, Finish, Cancel, Learn)
# By the last part of its address: what urls.py serves.
VERBS: dict[str, Callable[..., HttpResponseBase]] = {door.verb.segment: door.as_view() for door in _DOORS}

"""People's verbs: `POST /escalations/{id}/{verb}` with a session and a CSRF token.

Parse, call the one action, and answer in a second transaction: with the escalation for who speaks JSON, else with a
redirect and a sentence on the next page.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal
from uuid import UUID

import msgspec
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from escalations.actions import answers, claims, drafts, learnings, notes
from escalations.desk import argument_fields as forms
from escalations.desk import learning_form
from escalations.json_text import arguments_of, merge
from escalations.models import Escalation, Verdict
from escalations.selectors import escalations
from escalations.standing import in_states
from escalations.states import CLAIMED, WAITING
from memoryhub.core import idempotency, unseen
from memoryhub.core.errors import Code, FieldError, HubError, Invalid, NotFound, UnsupportedMediaType
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.etags import make_tag
from memoryhub.interface.http.headers import check_media_type, idempotency_key
from memoryhub.interface.http.json import dump, member_text, parse_object
from memoryhub.interface.http.shapes import Content, JsonObject, Shape, Text, convert
from memoryhub.interface.pages.base import SessionView, wants_json
from memoryhub.memory import rendering

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "")
_CSRF = "csrfmiddlewaretoken"


class Nothing(Shape, kw_only=True):
    pass


class NoteBody(Shape, kw_only=True):
    text: Text


class DecideBody(Shape, kw_only=True):
    verdict: Literal["approve", "edit", "respond", "reject", "ignore"]
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
    signal_type: Literal["success", "failure", "pattern", "recommendation"]
    details: Content
    context: JsonObject = msgspec.field(default_factory=dict)


class Verb(SessionView):
    """One verb: a subclass's `act` calls the action. `said`: the sentence that a page shows when it is done."""

    shape: ClassVar[type[Shape]] = Nothing
    said: ClassVar[str]
    form_name: ClassVar[str | None] = None  # of the draft that is forgotten when it is done
    leaves: ClassVar[bool] = False  # a page goes to the queue afterwards, not to the escalation

    def post(self, request: HttpRequest, *args: Any, **url: Any) -> HttpResponseBase:
        escalation_id: UUID = url["escalation_id"]
        try:
            body = convert(self.body(request, escalation_id), self.shape)
            done = once(self.viewer, request, lambda: self.act(escalation_id, body)) or Escalation(id=escalation_id)
            if (form := getattr(body, "verdict", self.form_name)) is not None:
                drafts.drop(self.viewer, escalation_id=escalation_id, form=form)
        except HubError as error:
            if wants_json(request) or error.status in (403, 404):
                raise
            messages.error(request, error.detail)
            return see(escalation_id)
        if wants_json(request):
            return self.answer(done)
        messages.success(request, self.said)
        return see(None if self.leaves else done.id)

    def act(self, escalation_id: UUID, body: Any) -> Escalation:
        """Call the action."""
        raise NotImplementedError

    def answer(self, done: Escalation) -> HttpResponse:
        """The escalation as it is now."""
        with viewer_transaction(self.viewer, read_only=True):
            row = escalations.escalation(self.viewer, done.id)
            return respond(escalations.render(row), {"ETag": make_tag(row.id, row.version, row.change)})

    def body(self, request: HttpRequest, escalation_id: UUID) -> dict[str, Any]:
        """What was sent, as JSON or as a form; an absent body is an empty one."""
        if request.META.get("CONTENT_LENGTH") in ("", "0", None):
            return {}
        if (request.content_type or "") not in _FORMS:
            check_media_type(request.META.get("CONTENT_TYPE"), request.META.get("HTTP_CONTENT_ENCODING"))
            return parse_object(request.body)
        if "HTTP_CONTENT_ENCODING" in request.META or request.FILES:
            raise UnsupportedMediaType("Send a plain form, or JSON.")
        return self.form(form_fields(request), escalation_id)

    def form(self, fields: dict[str, str], escalation_id: UUID) -> dict[str, Any]:
        """The body that a form's fields stand for. What was left empty is not sent."""
        return {name: text for name, text in fields.items() if text.strip()}


class Claim(Verb):
    said = "It is yours."

    def act(self, escalation_id: UUID, body: Nothing) -> Escalation:
        return claims.claim(self.viewer, escalation_id=escalation_id)


class Release(Verb):
    said = "It is back in the queue."
    leaves = True

    def act(self, escalation_id: UUID, body: Nothing) -> Escalation:
        return claims.release(self.viewer, escalation_id=escalation_id)


class Keep(Verb):
    said = "You keep it."

    def act(self, escalation_id: UUID, body: Nothing) -> Escalation:
        return claims.keep(self.viewer, escalation_id=escalation_id)


class WriteNote(Verb):
    shape = NoteBody
    said = "The note is on the timeline."
    form_name = "note"

    def act(self, escalation_id: UUID, body: NoteBody) -> Escalation:
        return notes.note(self.viewer, escalation_id=escalation_id, text=body.text).escalation


class Decide(Verb):
    shape = DecideBody
    said = "Your answer is with the agent."
    arguments_json: str | None = None  # the edited arguments, as they are to be kept

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


class HandBack(Verb):
    said = "Your answer is with the agent."

    def act(self, escalation_id: UUID, body: Nothing) -> Escalation:
        return answers.hand_back(self.viewer, escalation_id=escalation_id)


class Finish(Verb):
    shape = FinishBody
    said = "Finished. The agents are told."
    form_name = "finish"

    def act(self, escalation_id: UUID, body: FinishBody) -> Escalation:
        return answers.finish(self.viewer, escalation_id=escalation_id, done=body.done, outcome=body.outcome)


class Cancel(Verb):
    shape = CancelBody
    said = "Cancelled. The agent is told."
    form_name = "cancel"

    def act(self, escalation_id: UUID, body: CancelBody) -> Escalation:
        return answers.cancel(self.viewer, escalation_id=escalation_id, reason=body.reason)


class Learn(Verb):
    """What was resolved becomes a learning of the team; asked twice, the one that is there is answered."""

    shape = LearnBody
    said = "Learning saved. Agents find it by its context."
    form_name = "learning"

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
            return respond(rendering.learning(found), {})


class Next(Verb):
    """Claim the most urgent free one: answered with it, or 204 with how many others hold."""

    said = "It is yours."

    def post(self, request: HttpRequest, *args: Any, **url: Any) -> HttpResponseBase:
        convert(self.body(request, UUID(int=0)), Nothing)
        done = once(self.viewer, request, lambda: claims.next_free(self.viewer))
        if done is not None:
            if wants_json(request):
                return self.answer(done)
            messages.success(request, self.said)
            return see(done.id)
        with viewer_transaction(self.viewer, read_only=True):
            count = in_states(escalations.escalations(self.viewer), (CLAIMED, WAITING)).count()
        if wants_json(request):
            return HttpResponse(status=204, headers={"Cache-Control": "no-store", "X-Held": str(count)})
        messages.info(request, f"Nothing is free; {count} are in somebody's hands." if count else "Nothing waits.")
        return see(None)


def once(viewer: Viewer, request: HttpRequest, act: Callable[[], Escalation | None]) -> Escalation | None:
    """What the request with this Idempotency-Key has done, else what it does now; of the former the id alone.

    A browser sends again what a broken connection may have lost, by itself, too. Raises NotAllowed as replay().
    """
    key = idempotency_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
    if key is None:
        return act()
    is_form = request.content_type in _FORMS
    sent = request.POST.urlencode().encode() if is_form else request.body  # of a form in parts, the body is gone
    asked = idempotency.Request.of(viewer.membership, key, "POST", request.get_full_path(), sent)
    with viewer_transaction(viewer):
        if (known := idempotency.replay(asked)) is not None:
            return Escalation(id=UUID(known))
        done = act()
        if done is not None:
            idempotency.remember(asked, str(done.id))
        return done


def edited(viewer: Viewer, escalation_id: UUID, typed: dict[str, str]) -> str:
    """The action's arguments with what a person changed in its inputs, as JSON text. Raises Invalid, NotFound."""
    with viewer_transaction(viewer, read_only=True):
        action = read_text(escalations.escalation(viewer, escalation_id)).get("action")
    if not action:
        return "{}"  # nothing is to be edited, which the action refuses
    proposed = arguments_of(action)
    return merge(proposed, forms.changes(proposed, action.get("schema"), typed))


def form_fields(request: HttpRequest) -> dict[str, str]:
    """A form's fields, each sent once. Raises Invalid for one sent twice, and for NUL."""
    found: dict[str, str] = {}
    for name, texts in request.POST.lists():
        if name == _CSRF:
            continue
        if len(texts) != 1:
            raise Invalid(errors=(FieldError(f"/{name[:100]}", Code.REPEATED, "This was sent twice."),))
        if "\0" in name or "\0" in texts[0]:
            raise Invalid("There is a NUL in what was sent.")
        found[name] = texts[0].replace("\r\n", "\n")
    return found


def see(escalation_id: UUID | None) -> HttpResponse:
    """303 to the escalation's page, or to the queue."""
    return HttpResponse(status=303, headers={"Location": f"/escalations/{escalation_id}/" if escalation_id else "/"})


def respond(data: Any, headers: dict[str, str] | None = None) -> HttpResponse:
    """JSON that no cache keeps."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return HttpResponse(dump(data), content_type="application/json", headers=headers)


VERBS: dict[str, Callable[..., HttpResponseBase]] = {
    "claim": Claim.as_view(),
    "release": Release.as_view(),
    "keep": Keep.as_view(),
    "note": WriteNote.as_view(),
    "decide": Decide.as_view(),
    "hand-back": HandBack.as_view(),
    "finish": Finish.as_view(),
    "cancel": Cancel.as_view(),
    "learning": Learn.as_view(),
}

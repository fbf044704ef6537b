"""The desk's pages: the queue, an escalation, its timeline, and the active team."""

from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils.safestring import mark_safe

from escalations import states
from escalations.desk import argument_fields, crowds, learning_form, queue, timeline
from escalations.desk.summary import summary
from escalations.desk.verbs import form_fields, see
from escalations.json_text import arguments_of, has_arguments
from escalations.models import Answer, Escalation, Priority, ReasonCode
from escalations.permissions import OFFERS, PLACES, VERBS, offered
from escalations.selectors import escalations
from memoryhub.core.access.permissions import DESK
from memoryhub.core.errors import NotFound
from memoryhub.core.fields import LEVELS
from memoryhub.core.models import Role
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.interface.pages.base import PageView, SessionView
from memoryhub.interface.pages.sessions import TEAM_KEY
from memoryhub.memory.selectors import tasks as task_selectors


class SwitchTeam(SessionView):
    """POST `team`: the session's active team from now on."""

    def post(self, request: HttpRequest) -> HttpResponse:
        wanted = form_fields(request).get("team", "")
        chosen = next((member for member in self.members if str(member.team_id) == wanted), None)
        if chosen is None:
            raise NotFound()
        request.session[TEAM_KEY] = chosen.team_id
        return see(None)


class QueuePage(PageView):
    """The escalations that wait for a person, the most urgent first."""

    parameters = queue.PARAMETERS

    def show(self, **url: Any) -> HttpResponse:
        filters = queue.Filters.read(self.params)
        limit = self.params.integer("show", low=1, high=queue.MOST_ROWS) or queue.ROWS
        unfold = self.params.text("unfold", longest=200)
        shown = crowds.fold_crowds(self.viewer, filters, limit=limit, unfold=unfold)
        agents, people = queue.colleagues(self.viewer)
        rows = shown.rows
        is_mine = any(row.owner_id == self.viewer.membership for row in rows)
        is_taken = any(row.state in states.IN_PROGRESS for row in rows) and not is_mine and not shown.has_free
        context = {
            "entries": shown.entries,
            "rows": rows,
            "more": f"{self._address('show')}show={min(limit * 2, queue.MOST_ROWS)}" if limit < queue.MOST_ROWS else "",
            "cut": shown.cut,
            "unfold": unfold,
            "opens": self._address("unfold"),
            "filters": filters,
            "limit": limit,
            "fold_at": crowds.FOLD_AT,
            "whole": unfold or filters.agent,
            "notice": "empty" if not rows else "taken" if is_taken else "",
            "agents": agents,
            "people": people,
            "statuses": queue.STATUSES,
            "priorities": Priority.labels[::-1],
            "reasons": ReasonCode.values,
            "levels": LEVELS,
            "may_claim": self.viewer.role in DESK,
        }
        return self.render("escalations/queue.html", context)

    def _address(self, without: str) -> str:
        """The address of this queue without a parameter, ready to append it."""
        asked = urlencode(self.params.without(without))
        return f"/?{asked}&" if asked else "/?"


# The bytes of a page of the timeline; and of a case: its panel and two such pages, which share what the panel leaves.
PART_BYTES, CASE_BYTES = 3 * 1024 * 1024, 6_500_000


class OfCase(PageView):
    """A page of one escalation, its `row`."""

    @cached_property
    def row(self) -> Escalation:
        """The escalation of the address. Raises NotFound."""
        return escalations.escalation(self.viewer, self.kwargs["escalation_id"])


class CasePage(OfCase):
    """An escalation: the question, what was done, what one can answer, and the first page of its timeline."""

    parameters = timeline.PARAMETERS

    def show(self, **url: Any) -> HttpResponse:
        row, wanted = self.row, timeline.TimelineFilters.read(self.params)
        since, since_next = timeline.page(self.viewer, row, timeline.SINCE, wanted)
        before, before_next = timeline.page(self.viewer, row, timeline.BEFORE, wanted)
        agents, people = queue.colleagues(self.viewer)
        newest = before if wanted == timeline.TimelineFilters() else []
        panel = self.panel(row)
        shown = self.render("escalations/_panel.html", panel).content
        context = {
            **panel,
            "panel": mark_safe(shown.decode()),  # noqa: S308  (of our template)
            "room": max(0, min(PART_BYTES, (CASE_BYTES - len(shown)) // 2)),
            "since": since,
            "since_next": since_next,
            "before": before,
            "before_next": before_next,
            "wanted": wanted,
            "narrowed": wanted != timeline.TimelineFilters(),
            "kinds": timeline.kinds(),
            "keys": [offer for offer in OFFERS.values() if offer.key],
            "agents": [*agents, *people],
            "withheld": escalations.withheld(self.viewer, row),
            "summary": summary(self.viewer, row, newest),
        }
        return self.render("escalations/case.html", context)

    def panel(self, row: Escalation) -> dict[str, Any]:
        """What the upper part of the page shows: the request, the claim, the answers, what the viewer can do."""
        viewer, text = self.viewer, read_text(row)
        action = text.get("action") or None
        answer, unsent = escalations.answers_given(viewer, row)
        task = task_selectors.find_task(viewer, row.task_id).as_dict()
        given = read_text(answer) if answer else {}
        unreachable = escalations.unreachable(row) if row.state in states.OPEN else None
        learning, proposed = self.learning(row, text, answer, given, task)
        without = {verb.name for verb in VERBS.values() if verb.answers_agent} if unreachable else set()
        without |= set() if proposed else {"learn"}
        offers = offered(viewer, row, without=without, values={"learning": proposed or {}})
        return {
            "row": row,
            "text": text,
            "action": action,
            "proposed": argument_fields.rows(arguments_of(action)) if action else None,
            "fields": argument_fields.fields(arguments_of(action), action.get("schema")) if action else None,
            "task": task,
            "mine": row.owner_id == viewer.membership,
            "is_held": row.state in states.IN_PROGRESS,
            "is_open": row.state in states.OPEN,
            "is_reader": viewer.role == Role.READER,
            "offers": offers,
            "places": {place: [one for one in offers if one.offer.place == place] for place in PLACES},
            "opens_private": escalations.may_open_private(viewer, row),
            "unreachable": unreachable,
            "unsent": [(given, read_text(given)) for given in unsent],
            "answer": answer,
            "answer_text": given,
            "approved": argument_fields.rows(arguments_of(given)) if has_arguments(given) else None,
            "learning": learning,
        }

    def learning(
        self, row: Escalation, text: dict[str, Any], answer: Answer | None, given: dict[str, Any], task: Any
    ) -> tuple[Any, dict[str, str] | None]:
        """The learning that was made of the answer; or what the form for one is filled with."""
        if answer is None or row.state not in states.TRANSITIONS["learn"]:
            return None, None
        learned = escalations.learning_of(self.viewer, row.id)
        if learned is not None:
            return learned.as_dict(), None
        return None, learning_form.proposed(row, text, answer, given, task)


class CasePanel(CasePage):
    """The upper part alone, for a page on which something has changed."""

    parameters: ClassVar[frozenset[str]] = frozenset()

    def show(self, **url: Any) -> HttpResponse:
        return self.render("escalations/_panel.html", self.panel(self.row))


class ArgumentsPage(OfCase):
    """The arguments of an action that the case page folds: more of them, or one whole. `of`: the action or the answer.

    `inputs`: as inputs of the form; `whole`: the number of the value that was cut.
    """

    parameters = frozenset({"of", "start", "whole", "inputs"})

    def show(self, **url: Any) -> HttpResponse:
        row = self.row
        of = self.params.choice("of", ("action", "answer")) or "action"
        start = self.params.integer("start", low=0, high=1_000_000) or 0
        whole = self.params.integer("whole", low=0, high=1_000_000)
        action = read_text(row).get("action") or {}
        text = arguments_of(action if of == "action" else self.answer())
        context: dict[str, Any] = {"row": row, "of": of}
        if self.params.boolean("inputs"):
            first, size = (start, argument_fields.MORE) if whole is None else (whole, 1)
            page = argument_fields.fields(text, action.get("schema"), first, size=size)
            context |= {"fields": page} if whole is None else {"fields": replace(page, next=None), "opened": True}
            return self.render("escalations/_fields.html", context)
        if whole is not None:
            page = argument_fields.whole_row(text, whole)
        else:
            page = argument_fields.rows(text, start, size=argument_fields.MORE)
        return self.render("escalations/_arguments.html", context | {"page": page})

    def answer(self) -> dict[str, Any]:
        """The text of this round's answer. Raises NotFound."""
        answer, _ = escalations.answers_given(self.viewer, self.row)
        if answer is None:
            raise NotFound()
        return read_text(answer)


class TaskDataPage(OfCase):
    """All of the data of the case's task."""

    def show(self, **url: Any) -> HttpResponse:
        task = task_selectors.find_task(self.viewer, self.row.task_id).as_dict()
        return self.render("escalations/_task_data.html", {"task": task})


class TimelinePage(OfCase):
    """One more page of the timeline; or, of the items of these `ids`, those that stand on it, as they are now."""

    parameters = timeline.PARAMETERS | {"part", "position", "ids"}

    def show(self, **url: Any) -> HttpResponse:
        row, wanted = self.row, timeline.TimelineFilters.read(self.params)
        part = self.params.choice("part", (timeline.SINCE, timeline.BEFORE)) or timeline.BEFORE
        if ids := self.params.uuids("ids"):
            items, following = timeline.items(self.viewer, row, wanted, ids), None
        else:
            items, following = timeline.page(self.viewer, row, part, wanted, self.params.uuid("position"))
        context = {"row": row, "items": items, "next": following, "part": part, "wanted": wanted, "room": PART_BYTES}
        return self.render("escalations/_items.html", context)


class ItemPage(OfCase):
    """One item, opened and whole."""

    def show(self, **url: Any) -> HttpResponse:
        item = timeline.item(self.viewer, self.row, url["item_id"])
        return self.render("escalations/_item.html", {"row": self.row, "item": item, "whole": True})

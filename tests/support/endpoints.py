"""Every address of the API, from its own table, with a request that it takes: what is new must be added here."""

import re
from dataclasses import dataclass, field
from typing import Any, get_origin

from agents.api.doors import BodyEndpoint, Endpoint, QueryByPost, ReadEndpoint, Signature, signature_of
from agents.api.urls import urlpatterns
from agents.models import Scope
from memoryhub.core.models import Sensitivity, Team
from memoryhub.interface.http.queries import Parameter, parameters
from tests.support.api import Api, Reply, make_api

LABEL = {"sensitivity": "internal", "compartments": []}
TOKEN = {"token": 1}
WHEN = "2026-01-31T09:30:00Z"
ITEM = {
    "content": {"saw": "text"},
    "task": "held",
    **TOKEN,
    "tags": ["tag"],
    "importance": 0.5,
    "occurred_at": WHEN,
    "expires_at": "2999-01-31T09:30:00Z",
    "private": False,
    "pinned": False,
    "dedupe": False,
    **LABEL,
}
ACTION = {"name": "refund", "arguments": {"order": "o"}, "schema": {"type": "object"}}

# A body with every field that the address takes; each would be taken by the world that make_world() makes.
BODIES: dict[str, dict[str, Any]] = {
    "tasks": {"key": "new", "title": "Title", "requester": "Ada", "metadata": {"a": "b"}, "client_ref": "r", **LABEL},
    "tasks/claim-next": {"status": "open", "metadata": {"kind": "mail"}, "ttl_seconds": 60},
    "tasks/{free}": {"title": "New", "requester": "Ada", "metadata": {"a": "b"}, "status": "blocked"},
    "tasks/{free}/claim": {"ttl_seconds": 60},
    "tasks/{held}/renew": {**TOKEN, "ttl_seconds": 60},
    "tasks/{held}/release": TOKEN,
    "tasks/{held}/complete": {**TOKEN, "outcome": {"a": "b"}},
    "tasks/{held}/fail": {**TOKEN, "outcome": {"a": "b"}},
    "tasks/{done}/reopen": {"reason": "It came back."},
    "observations": {**ITEM, "client_ref": "r"},
    "observations/batch": {"items": [ITEM]},
    "observations/{seen}/pin": {},
    "observations/{seen}/unpin": {},
    "decisions": {
        "task": "held",
        **TOKEN,
        "decision": {"do": "text"},
        "reasoning": "Since.",
        "based_on": [],
        "action_key": "k",
        "client_ref": "r",
        **LABEL,
    },
    "decisions/{decided}/supersede": {
        **TOKEN,
        "decision": {"do": "text"},
        "reasoning": "Since.",
        "based_on": [],
        "action_key": "l",
        "client_ref": "r",
        **LABEL,
    },
    "decisions/{decided}/revoke": {**TOKEN, "reason": "It was wrong."},
    "decisions/{decided}/outcome": {"outcome": "failed", "note": "It did not arrive."},
    "learnings": {
        "signal_type": "pattern",
        "details": {"what": "text"},
        "context": {"industry": "retail"},
        "task": "free",
        "client_ref": "r",
        **LABEL,
    },
    "learnings/relevant": {
        "context": {"industry": "retail"},
        "q": "text",
        "exclude_own": False,
        "signal_types": ["success", "pattern"],
        "limit": 5,
    },
    "facts/read": {"keys": ["fact", "none"]},
    "facts/{fact}": {
        "value": {"a": ["b", 1]},
        "task": "free",
        "ttl_seconds": 600,
        "valid_from": WHEN,
        "valid_to": "2999-01-31T09:30:00Z",
        "client_ref": "r",
        **LABEL,
    },
    "escalations": {
        "task": "free",
        "reason_code": "other",
        "reason": "No rule.",
        "question": "What now?",
        "allowed": ["edit", "respond"],
        "action": ACTION,
        "recommendation": "None.",
        "priority": "high",
        "assigned_to": "Grace",
        "client_ref": "r",
    },
    "alerts": {
        "to": ["other"],
        "insight": "Hold all deals.",
        "severity": "warning",
        "task": "free",
        "expires_at": "2999-01-31T09:30:00Z",
        "client_ref": "r",
        **LABEL,
    },
    "alerts/{alert}/acknowledge": {},
    "escalations/{answered}/acknowledge": {},
    "import/trajectories": {
        "runs": [{"task_id": "run", "messages": [{"role": "user", "content": "Hello"}]}],
        "prefix": "p-",
        "acting_tools": ["send_*"],
        "handoff_tool": "hand_over",
    },
    "escalations/{queued}/cancel": {"reason": "Solved."},
}
# What a read cannot do without.
QUERIES = {"search": "?q=text"}
# Which row of the world each address is about.
ROWS = {"tasks": "free", "renew": "held", "release": "held", "complete": "held", "fail": "held", "reopen": "done"}
ROWS |= {"alerts": "alert", "facts": "fact", "history": "fact"}
ROWS |= {"supersede": "decided", "revoke": "decided", "outcome": "decided"}
ROWS |= {"observations": "seen", "decisions": "decided", "learnings": "learned"}
ROWS |= {"escalations": "queued", "acknowledge": "answered", "pin": "seen", "unpin": "seen"}


@dataclass(frozen=True)
class Door:
    """An address; `{name}` in its path is an entry of World.rows."""

    path: str
    view: type[Endpoint] = field(compare=False)

    @property
    def reads(self) -> bool:
        return issubclass(self.view, ReadEndpoint)

    @property
    def method(self) -> str | None:
        """Of what takes a body; None for what is only read."""
        if not issubclass(self.view, BodyEndpoint):
            return None
        return next((verb for verb in ("PATCH", "PUT") if hasattr(self.view, verb.lower())), "POST")

    @property
    def methods(self) -> set[str]:
        """All that it takes."""
        found = {"GET", "HEAD"} if self.reads else {"POST"} if issubclass(self.view, QueryByPost) else set()
        found |= {self.method} if self.method else set()
        return found | ({"DELETE"} if hasattr(self.view, "delete") else set())

    @property
    def signature(self) -> Signature:
        """What its body's method takes, or what is read."""
        return signature_of(self.view.function_of(self.method or "GET"))

    @property
    def parameters(self) -> set[str]:
        """Of the query that is read with."""
        return {one.name for one in self._parameters}

    @property
    def lists(self) -> set[str]:
        """Those of its parameters that may be sent several times."""
        return {one.name for one in self._parameters if get_origin(one.kind) is list}

    @property
    def _parameters(self) -> tuple[Parameter, ...]:
        method = "GET" if self.reads else self.method
        return parameters(signature_of(self.view.function_of(method or "GET")).query)

    def __str__(self) -> str:
        return self.path


def _doors() -> list[Door]:
    found = []
    for pattern in urlpatterns:
        route = str(pattern.pattern)
        noun, verb = route.partition("/")[0], route.rpartition("/")[2]
        row = (noun != "alerts" and ROWS.get(verb)) or ROWS.get(noun)
        view = getattr(pattern.callback, "view_class", object)
        if issubclass(view, Endpoint):
            found.append(Door(re.sub(r"<[a-z_]+:[a-z_]+>", f"{{{row}}}", route), view))
    return found


DOORS = _doors()
READERS = [door for door in DOORS if door.reads]
WRITERS = [door for door in DOORS if door.method]


@dataclass
class World:
    """A team with a row for every address to be about, and an agent who may do it all."""

    team: Team
    api: Api
    rows: dict[str, str]
    etags: dict[str, str]

    def send(self, door: Door, body: Any, **sent: Any) -> Reply:
        """The door's write, with the If-Match that it needs."""
        assert door.method
        headers = {**self.headers(door), **sent.pop("headers", {})}
        return self.api.send(door.method, door.path.format(**self.rows), body, headers=headers, **sent)

    def headers(self, door: Door) -> dict[str, str]:
        if door.method not in ("PATCH", "PUT"):
            return {}
        return {"If-Match": self.etags["fact" if "{fact}" in door.path else "free"]}

    def get(self, door: Door, query: str = "") -> Reply:
        return self.api.get(f"{door.path.format(**self.rows)}{query}")


def make_world(team: Team, label: dict[str, Any] | None = None, *, private: bool = False) -> World:
    """What BODIES rests on. `label`: of all rows, whose readers are cleared for confidential+finance; `private`: what
    was observed is its author's alone.
    """
    from escalations.actions import answers, claims
    from tests.support.factories import make_person

    label = label or {}
    cleared = (Sensitivity.CONFIDENTIAL, ["finance"]) if label else (Sensitivity.INTERNAL, [])
    api = make_api(team, *cleared, scopes=Scope.values)
    rows = {"free": "free", "held": "held", "done": "done", "fact": "fact"}
    etags = {}
    for key in ("free", "held", "done", "asked", "told"):
        reply = api.post(
            "tasks", {"key": key, "title": key, "metadata": {"kind": "mail"} if key == "free" else {}, **label}
        )
        etags[key] = reply.headers["ETag"]
    reply = api.send("PUT", "facts/fact", {"value": 1, **label}, headers={"If-None-Match": "*"})
    etags["fact"] = reply.headers["ETag"]
    for key in ("held", "done"):
        assert api.make(f"tasks/{key}/claim")["token"] == 1
    api.make("tasks/done/complete", TOKEN)
    api.make("decisions", {"task": "free", "decision": "free", "reasoning": "r"})
    rows["decided"] = api.make("decisions", {"task": "held", **TOKEN, "decision": "d", "reasoning": "r"})["id"]
    rows["seen"] = api.make("observations", {"content": "seen", "task": "free", "private": private})["id"]
    lesson = {"signal_type": "pattern", "details": "learned", "task": "free"}
    rows["learned"] = api.make("learnings", {**lesson, "context": {"kind": "mail"}})["id"]
    other = make_api(team, *cleared, name="other")
    rows["alert"] = other.make("alerts", {"to": [api.name], "insight": "Look.", **label})["id"]
    asked = {"reason_code": "other", "reason": "r", "question": "q"}
    rows["queued"] = api.make("escalations", {"task": "asked", **asked})["id"]
    rows["answered"] = api.make("escalations", {"task": "told", **asked})["id"]
    person = make_person(team, "support", *cleared, name="Grace")
    claims.claim(person.viewer, escalation_id=rows["answered"])
    answers.decide(person.viewer, escalation_id=rows["answered"], verdict="respond", message="Yes.")
    return World(team, api, rows, etags)

"""What every parameter of a query may be. A door names its parameters; here each name has its schema, once."""

from typing import Any

import msgspec

from escalations.states import STATES
from memoryhub.interface.http.pagination import DEFAULT_LIMIT, MAX_LIMIT
from memoryhub.interface.http.params import MAX_WORDS
from memoryhub.interface.http.shapes import COMPARTMENT, Key, Text
from memoryhub.memory.models import DecisionStatus, Severity, Signal, TaskStatus
from memoryhub.memory.search.ranking import MODES
from memoryhub.memory.search.sources import TYPES
from memoryhub.memory.selectors.alerts import STATES as ALERT_STATES
from memoryhub.memory.selectors.context import DEFAULT_BUDGET, MAX_BUDGET, MIN_BUDGET

Schema = dict[str, Any]

_KEY: Schema = msgspec.json.schema(Key)
_TEXT: Schema = msgspec.json.schema(Text)
_TIME: Schema = {"type": "string", "format": "date-time"}
_LABEL = COMPARTMENT.removeprefix("^").partition("$")[0]


def _text(longest: int) -> Schema:
    return {**_TEXT, "maxLength": longest}


def _words(*choices: str) -> Schema:
    visible = _TEXT["pattern"].removeprefix("[^")
    word: Schema = {"enum": list(choices)} if choices else {"pattern": f"^[^,]*[^,{visible}[^,]*$"}
    return {"type": "array", "items": {"type": "string", **word}, "minItems": 1, "maxItems": MAX_WORDS}


# Name -> what it is for, and its schema. `noun?name` where a noun means something else by a name.
PARAMETERS: dict[str, tuple[str, Schema]] = {
    "after": (
        "The `seq` after which to begin: `next` of the last page. Without it the feed begins now.",
        {"type": "integer", "minimum": 0, "maximum": 2**53},
    ),
    "after_seq": ("Only rows whose `seq` is greater.", {"type": "integer", "minimum": 0, "maximum": 2**53}),
    "as_of_seq": ("As it was at this `seq`.", {"type": "integer", "minimum": 0, "maximum": 2**53}),
    "as_of_time": ("As it was at this time. Not with `as_of_seq`.", _TIME),
    "agent": ("Only what this agent, or person, wrote; by name.", _text(100)),
    "budget": (
        "How many tokens the answer may be worth, as estimated here.",
        {"type": "integer", "minimum": MIN_BUDGET, "maximum": MAX_BUDGET, "default": DEFAULT_BUDGET},
    ),
    "by": ("What the figures are told apart by, with commas between.", _words("agent", "week")),
    "cursor": (
        "Where a page begins: as it stands in `next` or `previous` of the last one, whose other parameters it needs.",
        {"type": "string", "minLength": 1, "maxLength": 2000},
    ),
    "dialect": ("How the answer is put.", {"type": "string", "enum": ["hub"], "default": "hub"}),
    "exclude_agent": ("Nothing of this agent's, or person's; by name.", _text(100)),
    "exclude_own": ("Nothing of one's own.", {"type": "boolean", "default": False}),
    "format": ("Of the answer.", {"type": "string", "enum": ["json", "csv"], "default": "json"}),
    "from": ("When the period begins.", _TIME),
    "held_by": ("Only tasks whose live lease this agent, or person, holds; by name.", _text(100)),
    "label": (
        "Which of several rows of one key: `confidential+finance`, the plus percent-encoded.",
        {"type": "string", "pattern": rf"^(public|internal|confidential)(\+{_LABEL})*$"},
    ),
    "limit": (
        "How many rows a page has at most; it ends earlier where they are more than 8 MiB.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    "min_importance": (
        "Only what is at least this important: a number from 0 to 1, in decimal digits.",
        {"type": "string", "pattern": r"^(0(\.[0-9]{1,17})?|1(\.0{1,17})?)$", "examples": ["0.5"]},
    ),
    "mode": (
        "How words are looked for; `semantic` needs an embeddings endpoint, which `hybrid` makes use of, too.",
        {"type": "string", "enum": [*MODES, "semantic"], "default": "hybrid"},
    ),
    "prefix": ("Only keys that begin with this.", _KEY),
    "search?q": ('What to look for: a question, words, a "phrase", `-word`.', _text(1000)),
    "search?types": ("Only rows of these types, with commas between.", _words(*TYPES)),
    "q": ("Only tasks with this in key or title.", _text(200)),
    "sent": ("What one has sent, whatever its state, instead of what was sent to one.", {"type": "boolean"}),
    "severity": ("Only alerts of this severity.", {"type": "string", "enum": list(Severity.values)}),
    "signal_type": ("Only learnings of this type.", {"type": "string", "enum": list(Signal.values)}),
    "since": ("Only what was written at this time or later.", _TIME),
    "alerts?state": (
        "Only those that are not acknowledged, those that are, or both. What has expired is in none.",
        {"type": "string", "enum": list(ALERT_STATES), "default": "open"},
    ),
    "state": ("Only escalations in this state.", {"type": "string", "enum": list(STATES)}),
    "decisions?status": ("Only decisions in this status.", {"type": "string", "enum": list(DecisionStatus.values)}),
    "status": ("Only tasks in this status.", {"type": "string", "enum": list(TaskStatus.values)}),
    "tags": ("Only what has these tags, with commas between.", _words()),
    "tags_mode": ("All of the tags, or any.", {"type": "string", "enum": ["all", "any"], "default": "all"}),
    "task": ("Only of this task; 404 when there is none that one may see.", _KEY),
    "to": ("When the period ends.", _TIME),
    "types": (
        "Only events of these types, with commas between: of rows (`observation`) or of events (`observation.log`).",
        {**_words(), "items": {"type": "string", "pattern": r"^[a-z_]{1,30}(\.[a-z_]{1,30})?$"}},
    ),
    "until": ("Only what was written before this time.", _TIME),
    "valid_at": ("Only facts that are valid at this time.", _TIME),
    "wait": (
        "Seconds to wait for the answer, on an event loop: nothing is held meanwhile.",
        {"type": "integer", "minimum": 0, "maximum": 60, "default": 0},
    ),
}
# Without which there is nothing to answer.
REQUIRED = frozenset({"search?q"})
HEADERS: dict[str, tuple[str, Schema]] = {
    "Idempotency-Key": (
        "For 24 hours a second request with this key and the same body does nothing and has the same answer.",
        {"type": "string", "pattern": "^[!-~]{1,255}$"},
    ),
    "If-Match": (
        "The ETag that was read; the change is made only if nothing changed meanwhile.",
        {
            "type": "string",
            "pattern": '^"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\.[1-9][0-9]{0,8}(\\.[0-9a-f]{8})?"$',
            "examples": ['"0198c0de-0000-7000-8000-000000000001.3.5f0c2a91"'],
        },
    ),
    "If-None-Match": ("`*`: only make what is not there yet.", {"type": "string", "const": "*"}),
    "GET If-None-Match": ("An ETag that one has: 304 as long as it is the newest.", {"type": "string"}),
    "Last-Event-ID": (
        "The `seq` after which the stream goes on.",
        {"type": "string", "pattern": "^(0|[1-9][0-9]{0,15})$"},
    ),
}


class Undocumented(Exception):
    """Something of the API has no words yet; the text says where they belong."""


def query_parameter(noun: str, name: str) -> dict[str, Any]:
    """A parameter of a query. Raises Undocumented for one without an entry here."""
    found = PARAMETERS.get(f"{noun}?{name}") or PARAMETERS.get(name)
    if found is None:
        raise Undocumented(f"?{name} of {noun} has no entry in PARAMETERS of agents/openapi/parameters.py")
    description, schema = found
    made: dict[str, Any] = {"name": name, "in": "query", "description": description, "schema": schema}
    if f"{noun}?{name}" in REQUIRED:
        made["required"] = True
    if schema["type"] == "array":
        made |= {"style": "form", "explode": False}
    return made


def header_parameter(method: str, name: str, *, required: bool) -> dict[str, Any]:
    """A header of a request."""
    description, schema = HEADERS.get(f"{method} {name}") or HEADERS[name]
    return {"name": name, "in": "header", "description": description, "required": required, "schema": schema}

"""/api/v1/import/trajectories: recorded agent runs, as the command import_trajectories takes them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, NotRequired, TypedDict

import msgspec
import orjson
from django.http import HttpRequest
from msgspec import UNSET, Meta
from rest_framework.request import Request

from agents.api.doors import Batch, WriteEndpoint, WriteResult
from agents.api.observations import refuse
from agents.imports import envelopes
from agents.imports.envelopes import RunSource
from agents.imports.runs import read_run
from agents.imports.slices import Slice, members, place
from agents.imports.steps import HANDOFF, Rules
from agents.imports.store import Counts, Options, import_run
from agents.models import Scope
from memoryhub.core import idempotency, work
from memoryhub.core.errors import Code, Conflict, FieldError, HubError, Invalid, TooLarge
from memoryhub.core.fields import Key, Line, Shape
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.headers import JSON, idempotency_key
from memoryhub.interface.http.json import MAX_BATCH_BYTES, dump, parse_object
from memoryhub.interface.http.shapes import convert

MAX_RUNS = 100
MAX_ROWS = 200_000  # messages, calls, results and thoughts of one import
LINES = ("application/x-ndjson", "application/jsonl")
# The scopes of what an import creates, all of which its own scope stands for.
MADE_BY_IMPORT = frozenset({Scope.TASKS.value, Scope.MEMORY_WRITE.value, Scope.ESCALATIONS.value})


class NewTrajectories(Shape, kw_only=True):
    """`runs`: each as a line of the command's file. The other members are its options of these names.

    A body of another form (an array of runs, one run, JSON lines) has no options.
    """

    runs: Annotated[list[Any], Meta(min_length=1, max_length=MAX_RUNS)]
    prefix: Key | None = None
    acting_tools: Annotated[list[Line], Meta(max_length=100)] | None = None
    handoff_tool: Line = HANDOFF


_Slices = msgspec.defstruct(
    "_Slices", [(name, Slice, UNSET) for name in NewTrajectories.__struct_fields__], forbid_unknown_fields=True
)


class ImportedCounts(TypedDict):
    """How many rows were created."""

    tasks: int
    observations: int
    decisions: int
    escalations: int


class ImportedRun(TypedDict):
    """`task`: its key. `duplicate`: all of it was stored before.

    `described`: how many inline files were too large for a row, which has their media type, size and SHA-256 instead.
    """

    index: int
    status: Literal["created", "duplicate", "error"]
    task: NotRequired[str]
    made: ImportedCounts
    described: NotRequired[int]
    error: NotRequired[dict[str, Any]]


class Imported(TypedDict):
    """One result per run, in order, and the totals."""

    results: list[ImportedRun]
    made: ImportedCounts


class Trajectories(WriteEndpoint):
    """Import 1 to 100 recorded runs as what this agent did: one result each, in order; 207 when any failed.

    Each run is one transaction, stored whole or not at all. A repeated or concurrent import adds only what is missing:
    send an interrupted one again. Besides the object below, the body may be an array of runs, one run, or JSON lines
    (`application/x-ndjson`); with `Content-Encoding: gzip` it may have 64 MiB when decompressed. A run has at most
    10,000 messages, and 10,000 calls, results and thoughts; it may grow to four times its bytes, or 256 KiB where that
    is more. 413 names what is beyond, also beyond 200,000 of all these in one import. docs/imports.md says what becomes
    of each member of a message.
    """

    address = "import/trajectories"
    max_bytes = MAX_BATCH_BYTES
    media_types: ClassVar[Sequence[str]] = (JSON, *LINES)
    encodings: ClassVar[Sequence[str]] = ("gzip",)

    @classmethod
    def scope_of(cls, method: str) -> str:
        return Scope.IMPORT.value

    def _run(self, request: Request, raw: bytes, body: Any, url: dict[str, Any]) -> tuple[WriteResult[Any], None]:
        key = idempotency_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
        if key is None:
            return self.write(body), None
        asked = self._asked(request._request, key, raw)
        with idempotency.alone(asked):
            with viewer_transaction(self.viewer, read_only=True):
                known = idempotency.recall(asked)
            if known is not None:
                return WriteResult(*known), None
            outcome = self.write(body)
            with viewer_transaction(self.viewer):
                idempotency.replay(asked)
                idempotency.remember(asked, [outcome.status, outcome.result])
            return outcome, None

    def _raw(self, request: HttpRequest) -> bytes:
        raw = super()._raw(request)
        if len(raw) > self.max_bytes:
            raise TooLarge(f"The body is larger than {self.max_bytes} bytes.")
        return envelopes.gunzip(raw) if "HTTP_CONTENT_ENCODING" in request.META else raw

    def _parse(self, raw: bytes) -> NewTrajectories:
        """The body, whose `runs` are sources, unread."""
        text = envelopes.decoded(raw)
        if self.media_type in LINES:
            runs = list(islice(envelopes.runs_of_lines(text), MAX_RUNS + 1))
            envelopes.refuse_number(len(runs), MAX_RUNS)
        elif not envelopes.is_wrapped(text):
            runs = envelopes.runs_of_document(text, MAX_RUNS)
        else:
            return self._unwrapped(text)
        return NewTrajectories(runs=runs)

    def _unwrapped(self, text: memoryview) -> NewTrajectories:
        try:
            slices = msgspec.structs.asdict(members(text, _Slices))
        except Invalid as error:
            (fault,) = error.errors or (FieldError("", error.code, ""),)
            if fault.code == Code.UNKNOWN_FIELD:  # or a read-only one
                convert({"runs": [None], fault.pointer[1:]: None}, NewTrajectories)
            raise
        found = {name: value for name, value in slices.items() if value is not UNSET}
        small = found | ({"runs": [None]} if "runs" in found else {})
        body = convert(parse_object(msgspec.json.encode(small)), NewTrajectories)
        body.runs = envelopes.runs_of_array(found["runs"], MAX_RUNS, "/runs")
        return body

    def write(self, body: NewTrajectories) -> Batch[Imported]:
        options = Options(Rules(tuple(body.acting_tools or ()) or None, body.handoff_tool), body.prefix or "")
        importing = _Import(replace(self.viewer, scopes=MADE_BY_IMPORT), options)
        results = [importing.store(index, source) for index, source in enumerate(body.runs)]
        status = 207 if any(result["status"] == "error" for result in results) else 200
        # A refusal's state may hold times and UUIDs, which the idempotency record cannot.
        return Batch(orjson.loads(dump(results)), status)

    def render(self, outcome: Any, ahead: Any) -> Any:
        results: list[ImportedRun] = outcome.result
        made: Any = {name: sum(result["made"][name] for result in results) for name in ImportedCounts.__annotations__}  # type: ignore[literal-required]
        return {"results": results, "made": made}


class _Import:
    """One request's import. `first`: where each run's key was, `rows`: how much was read so far."""

    def __init__(self, viewer: Viewer, options: Options) -> None:
        self.viewer, self.options = viewer, options
        self.first: dict[str, int] = {}
        self.rows = 0

    def store(self, index: int, source: RunSource) -> ImportedRun:
        """Store a run, and say what came of it."""
        work.check()  # each run is a transaction: what is stored stays, and a repeated request adds the rest
        made = Counts()
        result: dict[str, Any] = {"index": index}
        try:
            run = read_run(source, self.options.prefix)
            result["task"] = run.key
            if (earlier := self.first.setdefault(run.key, index)) != index:
                raise Conflict(Code.ALREADY_EXISTS, f"The run {run.key} is already in this body, at index {earlier}.")
            self.rows += len(run.slices) + run.parts
            if self.rows > MAX_ROWS:
                detail = (
                    f"An import may have {MAX_ROWS} messages, calls, results and thoughts. Send this run in another."
                )
                raise TooLarge(errors=(FieldError("/messages", Code.TOO_LONG, detail),))
            import_run(self.viewer, run, self.options, made)
            result["status"] = "duplicate" if made["complete"] else "created"
            if made["described"]:
                result["described"] = made["described"]
        except HubError as error:
            made = Counts()  # its transaction was rolled back
            refuse(result, place(error, source.pointer, source.name))
        result["made"] = {name: made[name] for name in ImportedCounts.__annotations__}
        return result  # type: ignore[return-value]  # filled member by member

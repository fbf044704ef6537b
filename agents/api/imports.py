"""/api/v1/import/trajectories: recorded agent runs, as the command import_trajectories takes them."""

from dataclasses import replace
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import orjson
from msgspec import Meta
from rest_framework.request import Request

from agents.api.doors import Batch, WriteEndpoint, WriteResult
from agents.api.observations import refuse
from agents.imports.runs import run_of
from agents.imports.steps import HANDOFF, Rules
from agents.imports.store import Counts, Options, import_run
from agents.models import Scope
from memoryhub.core import idempotency, work
from memoryhub.core.errors import Code, Conflict, FieldError, HubError, Invalid
from memoryhub.core.fields import Key, Line, Shape
from memoryhub.core.transactions import viewer_transaction
from memoryhub.interface.http.headers import idempotency_key
from memoryhub.interface.http.json import MAX_BATCH_BYTES, dump

MAX_RUNS = 100
# The scopes of what an import creates, all of which its own scope stands for.
MADE_BY_IMPORT = frozenset({Scope.TASKS.value, Scope.MEMORY_WRITE.value, Scope.ESCALATIONS.value})


class NewTrajectories(Shape, kw_only=True):
    """`runs`: each as a line of the command's file. The other members are its options of these names."""

    runs: Annotated[list[Any], Meta(min_length=1, max_length=MAX_RUNS)]
    prefix: Key | None = None
    acting_tools: Annotated[list[Line], Meta(max_length=100)] | None = None
    handoff_tool: Line = HANDOFF


class ImportedCounts(TypedDict):
    """How many rows were created."""

    tasks: int
    observations: int
    decisions: int
    escalations: int


class ImportedRun(TypedDict):
    """`task`: its key. `duplicate`: all of it was stored before."""

    index: int
    status: Literal["created", "duplicate", "error"]
    task: NotRequired[str]
    made: ImportedCounts
    error: NotRequired[dict[str, Any]]


class Imported(TypedDict):
    """One result per run, in order, and the totals."""

    results: list[ImportedRun]
    made: ImportedCounts


class Trajectories(WriteEndpoint):
    """Import 1 to 100 recorded runs as what this agent did: one result each, in order; 207 when any failed.

    Each run is one transaction, stored whole or not at all. A repeated or concurrent import adds only what is missing:
    send an interrupted one again. A run has at most 10,000 messages and 10,000 calls, and may grow to four times its
    bytes, or 256 KiB where that is more; 413 names what is beyond.
    """

    address = "import/trajectories"
    max_bytes = MAX_BATCH_BYTES

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

    def write(self, body: NewTrajectories) -> Batch[Imported]:
        options = Options(Rules(tuple(body.acting_tools or ()) or None, body.handoff_tool), body.prefix or "")
        first: dict[str, int] = {}
        results = [self._import(index, run, options, first) for index, run in enumerate(body.runs)]
        status = 207 if any(result["status"] == "error" for result in results) else 200
        # A refusal's state may hold times and UUIDs, which the idempotency record cannot.
        return Batch(orjson.loads(dump(results)), status)

    def _import(self, index: int, run: Any, options: Options, first: dict[str, int]) -> ImportedRun:
        work.check()  # each run is a transaction: what is stored stays, and a repeated request adds the rest
        made = Counts()
        result: dict[str, Any] = {"index": index}
        try:
            if not isinstance(run, dict):
                raise Invalid(errors=(FieldError("", Code.WRONG_TYPE, "This must be an object."),))
            read = run_of(run, options.prefix)
            result["task"] = read.key
            if (earlier := first.setdefault(read.key, index)) != index:
                raise Conflict(Code.ALREADY_EXISTS, f"The run {read.key} is already in this body, at index {earlier}.")
            import_run(replace(self.viewer, scopes=MADE_BY_IMPORT), read, options, made)
            result["status"] = "duplicate" if made["complete"] else "created"
        except HubError as error:
            made = Counts()  # its transaction was rolled back
            faults = error.errors or (FieldError("", error.code, error.detail),)
            error.errors = tuple(replace(fault, pointer=f"/runs/{index}{fault.pointer}") for fault in faults)
            refuse(result, error)
        result["made"] = {name: made[name] for name in ImportedCounts.__annotations__}
        return result  # type: ignore[return-value]  # filled member by member

    def render(self, outcome: Any, ahead: Any) -> Any:
        results: list[ImportedRun] = outcome.result
        made: Any = {name: sum(result["made"][name] for result in results) for name in ImportedCounts.__annotations__}  # type: ignore[literal-required]
        return {"results": results, "made": made}

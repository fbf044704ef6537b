"""Every operation of the API: of the doors in agents.api.urls, and of those on the event loop."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from agents.api.doors import Endpoint, Nothing, QueryByPost, Signature, WriteEndpoint, WriteResult, signature_of
from agents.api.urls import urlpatterns
from agents.openapi.parameters import Undocumented
from agents.waiting import answer, feed, stream
from agents.waiting.frames import FeedEvent, FeedEvents
from escalations.schemas import Answer
from memoryhub.core.fields import Derived
from memoryhub.interface.http.queries import Query, parameters
from memoryhub.memory.schemas.alerts import PushedAlert

ROOT = "/api/v1/"

# Operation ids that differ from the default: a collection's POST that is not `create`, and doors without a noun.
NAMES = {
    ("GET", "me"): "me_get",
    ("POST", "observations"): "observation_log",
    ("POST", "observations/batch"): "observation_log_batch",
    ("POST", "decisions"): "decision_record",
    ("POST", "learnings"): "learning_log",
    ("GET", "insights"): "insights_get",
    ("GET", "search"): "search_get",
    ("POST", "escalations"): "escalation_escalate",
    ("POST", "alerts"): "alert_send",
    ("GET", "feed"): "feed_get",
}
# The statuses with which any door may refuse.
_ANY = frozenset({400, 401, 403, 408, 414, 429, 431, 503})
_METHODS = {"GET": "get", "PUT": "put", "PATCH": "update", "DELETE": "delete"}


@dataclass(frozen=True)
class Operation:
    """One method of one address, as the description shows it."""

    method: str
    route: str  # as in urls.py: tasks/<key:key>/claim
    id: str
    module: str  # its docstring is the tag's
    description: str
    scope: str | None
    query: type[Query]
    answers: Mapping[int, Any]
    refusals: frozenset[int]
    headers: tuple[tuple[str, bool], ...] = ()  # of the request: name, and whether it is required
    shape: Any = None
    body_required: bool = False
    media_type: str = "application/json"
    events: tuple[Any, ...] = ()  # what the events of a stream may hold

    @property
    def path(self) -> str:
        return ROOT + re.sub(r"<[a-z_]+:([a-z_]+)>", r"{\1}", self.route)

    @property
    def noun(self) -> str:
        return self.route.partition("/")[0]

    @property
    def parameters(self) -> frozenset[str]:
        return frozenset(one.name for one in parameters(self.query))

    @property
    def path_parameters(self) -> list[tuple[str, str]]:
        """Converter and name of each."""
        return re.findall(r"<([a-z_]+):([a-z_]+)>", self.route)


def operations() -> list[Operation]:
    """All of them, in the order of urls.py. Raises Undocumented for what a door does not describe."""
    found = []
    for pattern in urlpatterns:
        view = getattr(pattern.callback, "view_class", None)
        if view is not None and issubclass(view, Endpoint):
            found += list(_of_door(str(pattern.pattern), view))
    return [*found, *WAITING]


def _of_door(route: str, view: type[Endpoint]) -> Iterator[Operation]:
    for method in view.http_method_names:
        if method in ("get", "post", "put", "patch", "delete") and hasattr(view, method):
            yield _operation(method.upper(), route, view)


def _operation(method: str, route: str, view: type[Endpoint]) -> Operation:
    function = view.function_of(method)
    described = signature_of(function)
    if described.returns is None:
        raise Undocumented(f"{view.__qualname__}.{function.__name__} has no return annotation")
    return Operation(
        method=method,
        route=route,
        id=name_of(method, route),
        module=view.__module__,
        description=_words_of(view, function.__name__),
        scope=view.scope_of(method),
        query=described.query,
        headers=_headers(method, view),
        shape=described.body,
        body_required=described.body is not None and not described.is_body_optional,
        answers=_answers(method, view, described.returns),
        refusals=_ANY.union(_refusals(method, route, view, described)),
    )


def name_of(method: str, route: str) -> str:
    """The operation's id, from its verb: `task_claim`, `observation_list`."""
    if named := NAMES.get((method, route)):
        return named
    noun, *rest = [step for step in route.split("/") if not step.startswith("<")]
    singular = re.sub(r"ies$", "y", noun).removesuffix("s")
    if rest:
        return f"{singular}_{rest[-1]}".replace("-", "_")
    if method == "GET" and "<" not in route:
        return f"{singular}_list"
    return f"{singular}_{_METHODS.get(method, 'create')}"


def _answers(method: str, view: type[Endpoint], returns: Any) -> Mapping[int, Any]:
    """Status -> the type of the response, from what the door's function returns."""
    made: dict[int, Any] = {}
    for part in get_args(returns) if get_origin(returns) in (Union, UnionType) else (returns,):
        known = _known(part)
        kind = get_origin(known) or known
        if part is NoneType or kind is Nothing:
            made[204] = None
        elif isinstance(kind, type) and issubclass(kind, WriteResult):
            (shown,) = get_args(known)
            made |= dict.fromkeys(kind.statuses, _known(shown))
        else:
            made[200] = known
    if method == "GET" and getattr(view, "conditional", False):
        made[304] = None
    return made


def _known(kind: Any) -> Any:
    """The schema itself, where it is derived from the registered kinds."""
    found = next((mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, Derived)), None)
    return found.of() if found else kind


def _headers(method: str, view: type[Endpoint]) -> tuple[tuple[str, bool], ...]:
    """PATCH and DELETE require If-Match; PUT has If-Match or If-None-Match."""
    if method == "GET":
        return (("If-None-Match", False),) if getattr(view, "conditional", False) else ()
    made: list[tuple[str, bool]] = [("Idempotency-Key", False)] if issubclass(view, WriteEndpoint) else []
    if method in ("PATCH", "DELETE"):
        made.append(("If-Match", True))
    if method == "PUT":
        made += [("If-Match", False), ("If-None-Match", False)]
    return tuple(made)


def _refusals(method: str, route: str, view: type[Endpoint], described: Signature) -> Iterator[int]:
    """The statuses with which a door of this kind may refuse, beside those of any door."""
    names_rows = "<" in route or bool({"task", "label"} & {one.name for one in parameters(described.query)})
    writes = method != "GET" and not issubclass(view, QueryByPost)
    if writes or names_rows:
        yield from (404, 409)
    if described.body is not None:
        yield from (413, 415)
    if writes:
        yield 422
    if method in ("PATCH", "PUT", "DELETE"):
        yield from (412, 428)


def _words_of(view: type[Endpoint], function: str) -> str:
    """The function's own docstring, else the door's."""
    for kind in view.__mro__:
        if kind.__module__ == Endpoint.__module__:
            break
        if function in vars(kind) and (words := vars(kind)[function].__doc__):
            return inspect.cleandoc(words)
        if words := kind.__doc__:
            return inspect.cleandoc(words)
    raise Undocumented(f"{view.__qualname__} has no docstring")


def _waiting(door: str, application: Callable[..., Any], **members: Any) -> Operation:
    """A door on the event loop, outside agents.api.urls."""
    route = door.removeprefix(ROOT[1:])
    words = inspect.cleandoc(application.__doc__ or "")
    return Operation("GET", route, name_of("GET", route), description=words, **members)


WAITING = (
    _waiting(
        answer.DOOR,
        answer.answer,
        module="agents.api.escalations",
        scope=answer.NEEDED,
        query=answer.AnswerQuery,
        answers={200: Answer, 204: None},
        refusals=_ANY | {404},
    ),
    _waiting(
        feed.DOOR,
        feed.feed,
        module=feed.__name__,
        scope=feed.NEEDED,
        query=feed.FeedQuery,
        answers={200: FeedEvents},
        refusals=_ANY | {404, 409, 410},
    ),
    _waiting(
        stream.DOOR,
        stream.stream,
        module=feed.__name__,
        scope=feed.NEEDED,
        query=feed.EventsQuery,
        answers={200: str},
        refusals=_ANY | {404, 409, 410},
        headers=(("Last-Event-ID", False),),
        media_type="text/event-stream",
        events=(FeedEvent, PushedAlert),
    ),
)

"""What a page of the desk shows, as its socket is told: by it the server decides what of an event stands there."""

from dataclasses import dataclass
from uuid import UUID

from escalations.desk.queue import NAMES, Filters
from escalations.desk.timeline import PARAMETERS, TimelineFilters
from memoryhub.interface.http.params import Params


@dataclass(frozen=True, slots=True)
class Watch:
    """The `queue` of a page, as it is narrowed; or a case's task, with its `timeline` as it is narrowed."""

    queue: Filters | None = None
    task: UUID | None = None
    timeline: TimelineFilters | None = None

    @classmethod
    def read(cls, task: UUID | None, query: str) -> "Watch":
        """Of a page with this `data-view`. Raises Invalid, UriTooLong."""
        if task is None:
            return cls(queue=Filters.read(Params(query.encode(), NAMES)))
        return cls(task=task, timeline=TimelineFilters.read(Params(query.encode(), PARAMETERS)))

"""A team, an agent and a person for each test. Imports stand inside: pytest reads this before Django is set up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.conf import LazySettings

    from memoryhub.core.models import Team
    from tests.support.api import Api
    from tests.support.embeddings import Endpoint
    from tests.support.endpoints import World
    from tests.support.factories import Person


OTHERS = ("event", "task", "fact_version", "label", "escalation")  # tables of no kind


@pytest.fixture
def team() -> Team:
    from tests.support.factories import make_team

    return make_team()


@pytest.fixture
def api(team: Team) -> Api:
    """An agent with the clearance internal."""
    from tests.support.api import make_api

    return make_api(team)


@pytest.fixture
def person(team: Team) -> Person:
    """Somebody of the desk with the clearance internal."""
    from tests.support.factories import make_person

    return make_person(team)


@pytest.fixture
def task(api: Api) -> str:
    """A task of the team, `t`."""
    api.make("tasks", {"key": "t", "title": "T"})
    return "t"


@pytest.fixture(scope="module")
def whole_world() -> World:
    """Made once a module: what is refused changes nothing."""
    from tests.support.endpoints import make_world
    from tests.support.factories import make_team

    return make_world(make_team())


@pytest.fixture
def world(whole_world: World, owner_sql: Any) -> Iterator[World]:
    """The world, which must be as it was when the test ends."""
    from memoryhub.memory.kinds import KINDS

    team = [whole_world.team.id]
    tables = {*OTHERS, *(kind.schema.model._meta.db_table for kind in KINDS.values())}

    def stored() -> list[Any]:
        states = owner_sql.execute("select key, version, status from task where team_id = %s order by 1", team)
        counted = "select count(*) from {} where team_id = %s"
        counts = [owner_sql.execute(counted.format(table), team) for table in sorted(tables)]
        return [states.fetchall(), *(count.fetchone() for count in counts)]

    before = stored()
    yield whole_world
    assert stored() == before


@pytest.fixture(scope="module")
def serving_endpoint() -> Iterator[Endpoint]:
    """An embeddings endpoint."""
    from tests.support.embeddings import serving

    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(serving_endpoint: Endpoint, settings: LazySettings) -> Iterator[Endpoint]:
    """The endpoint, configured for this process, as new."""
    from tests.support.embeddings import KEY, MODEL
    from tests.support.searching import forget_endpoint

    settings.EMBEDDINGS_URL, settings.EMBEDDINGS_MODEL = serving_endpoint.url, MODEL
    settings.EMBEDDINGS_KEY = KEY
    serving_endpoint.forget()
    forget_endpoint()
    yield serving_endpoint
    serving_endpoint.forget()
    forget_endpoint()

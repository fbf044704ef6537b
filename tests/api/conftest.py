"""A team, an agent and a person for each test. Imports stand inside: pytest reads this before Django is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from memoryhub.core.models import Team
    from tests.api.client import Api
    from tests.factories import Person


@pytest.fixture
def team() -> Team:
    from tests.factories import make_team

    return make_team()


@pytest.fixture
def api(team: Team) -> Api:
    """An agent with the clearance internal."""
    from tests.api.client import make_api

    return make_api(team)


@pytest.fixture
def person(team: Team) -> Person:
    """Somebody of the desk with the clearance internal."""
    from tests.factories import make_person

    return make_person(team)

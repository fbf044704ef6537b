import pytest

from memoryhub.core.models import SYSTEM_TEAM, Team
from tests.admin.pages import signed_in
from tests.factories import make_person, make_team


@pytest.fixture
def team():
    return make_team()


@pytest.fixture
def chief(team):
    """An administrator of the team, who sees what is internal."""
    return make_person(team, "admin", is_staff=True)


@pytest.fixture
def browser(chief):
    return signed_in(chief)


@pytest.fixture
def installer():
    """An administrator of the installation."""
    team = Team.objects.get(slug=SYSTEM_TEAM)
    return make_person(team, "admin", is_staff=True, is_superuser=True)

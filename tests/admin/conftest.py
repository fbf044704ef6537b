"""Imported before Django is set up, so the fixtures import what they need when they run."""

import pytest


@pytest.fixture
def team():
    from tests.support.factories import make_team

    return make_team()


@pytest.fixture
def chief(team):
    """An administrator of the team, who sees what is internal."""
    from tests.support.factories import make_person

    return make_person(team, "admin", is_staff=True)


@pytest.fixture
def browser(chief):
    from tests.support.admin_pages import signed_in

    return signed_in(chief)


@pytest.fixture
def head(team):
    """An administrator of the team, with all that the tests give, who administers the installation, too."""
    from memoryhub.core.models import SYSTEM_TEAM, Team
    from tests.support.factories import join, make_person

    person = make_person(team, "admin", 2, ["finance", "pii"], is_staff=True)
    join(Team.objects.get(slug=SYSTEM_TEAM), person.actor, "admin")
    return person


@pytest.fixture
def head_browser(head):
    from tests.support.admin_pages import signed_in

    return signed_in(head)


@pytest.fixture
def installer():
    """An administrator of the installation."""
    from memoryhub.core.models import SYSTEM_TEAM, Team
    from tests.support.factories import make_person

    return make_person(Team.objects.get(slug=SYSTEM_TEAM), "admin", is_staff=True, is_superuser=True)

"""A desk and two people's browsers. (What imports the models waits until the settings are there.)"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from tests.support.desk_world import Desk


@pytest.fixture
def desk() -> "Desk":
    from tests.support.desk_world import make_desk

    return make_desk()


@pytest.fixture
def sam(desk: "Desk") -> "Client":
    from tests.support.desk_world import browser_of

    return browser_of(desk.sam)


@pytest.fixture
def lee(desk: "Desk") -> "Client":
    from tests.support.desk_world import browser_of

    return browser_of(desk.lee)

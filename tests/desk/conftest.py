"""A desk and two people's browsers. (What imports the models waits until the settings are there.)"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from tests.desk.desks import Desk


@pytest.fixture
def desk() -> "Desk":
    from tests.desk.desks import make_desk

    return make_desk()


@pytest.fixture
def sam(desk: "Desk") -> "Client":
    from tests.desk.desks import browser_of

    return browser_of(desk.sam)


@pytest.fixture
def lee(desk: "Desk") -> "Client":
    from tests.desk.desks import browser_of

    return browser_of(desk.lee)

"""A team with its desk. The import stands inside: pytest reads this before Django is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.desk.desks import Desk


@pytest.fixture
def desk() -> Desk:
    from tests.desk.desks import make_desk

    return make_desk()

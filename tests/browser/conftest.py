"""A team with its desk. The import stands inside: pytest reads this before Django is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.desk_world import Desk


@pytest.fixture
def desk() -> Desk:
    from tests.support.desk_world import make_desk

    return make_desk()

"""What makes a function an action: a name, who may call it, and one transaction around it.

The same verb names the action, its permission, its event, its URL and its MCP tool.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar, cast

from memoryhub.core.errors import Forbidden
from memoryhub.core.models import SYSTEM_TEAM, Role
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer

P = ParamSpec("P")
R = TypeVar("R")

AGENTS = frozenset({Role.AGENT})
DESK = frozenset({Role.SUPPORT, Role.LEAD, Role.ADMIN})
LEADS = frozenset({Role.LEAD, Role.ADMIN})
ADMINS = frozenset({Role.ADMIN})
READERS = frozenset({Role.READER, *DESK})


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission: the roles that have it, and the scope that an API key needs for it."""

    name: str
    roles: frozenset[Role]
    scope: str | None

    def permit(self, viewer: Viewer) -> None:
        """Raises Forbidden unless the viewer may do this. The system may do everything."""
        if viewer.is_system:
            return
        if viewer.role not in self.roles:
            raise Forbidden(f"Your role ({viewer.role}) may not do this: {self.name}.")
        require_scope(viewer, self.scope)


VERBS: dict[str, Permission] = {}


def has_scope(viewer: Viewer, scope: str) -> bool:
    """Whether the viewer's key has the scope; people need none."""
    return viewer.scopes is None or scope in viewer.scopes


def require_scope(viewer: Viewer, scope: str | None) -> None:
    """Raises Forbidden when the viewer's key lacks the scope."""
    if scope is not None and not has_scope(viewer, scope):
        raise Forbidden(f"This key lacks the scope {scope}.")


def action(
    name: str, *, roles: Iterable[Role], scope: str | None = None, in_installation: bool = False
) -> Callable[[Callable[Concatenate[Viewer, P], R]], Callable[Concatenate[Viewer, P], R]]:
    """Declare an action. The wrapped function checks the permission, then runs in the viewer's transaction.

    `in_installation`: it is for the installation's own team only, whatever the role.
    """
    verb = VERBS[name] = Permission(name, frozenset(roles), scope)

    def declare(function: Callable[Concatenate[Viewer, P], R]) -> Callable[Concatenate[Viewer, P], R]:
        @functools.wraps(function)
        def act(viewer: Viewer, *args: P.args, **kwargs: P.kwargs) -> R:
            verb.permit(viewer)
            if in_installation and viewer.team_slug != SYSTEM_TEAM:
                raise Forbidden("Only the installation's administrators may do this.")
            with viewer_transaction(viewer):
                return function(viewer, *args, **kwargs)

        return cast(Callable[Concatenate[Viewer, P], R], act)

    return declare

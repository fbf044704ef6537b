"""manage.py reindex_search: rebuild the search index."""

from collections.abc import Callable

from memoryhub.core.management.rebuilding import RebuildCommand
from memoryhub.memory.search.rebuild import rebuild


class Command(RebuildCommand):
    help = "Rebuild the search index from the memory, which may be read and written meanwhile."

    def rebuild(self, team: int, say: Callable[[str], object]) -> None:
        rebuild(team, lambda kind, rows: say(f"{rows} {kind}s"))

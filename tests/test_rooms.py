"""Rooms keep to themselves: no room reads another's tables by SQL, and who owns a right says how it is checked."""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.actions import keys
from agents.models import ApiKey
from memoryhub.core.viewers import system_viewer
from memoryhub.interface.live import rights
from memoryhub.interface.live.rights import Rights, revoked_among
from tests.support.factories import make_agent, make_person, make_team
from tests.support.servers import ROOT

FOLDERS = {
    "core": "memoryhub/core",
    "memory": "memoryhub/memory",
    "interface": "memoryhub/interface",
    "escalations": "escalations",
    "agents": "agents",
    "config": "memoryhub/config",
    "run": "memoryhub/run",
}
# A room's SQL names its own tables, and core's: people, teams, labels and the ledger are what the others stand on. Only
# core writes those. Memory and core read some tables without naming them: of the kinds that their owners register.

# Names that stand after these words; a list of tables stands after `from`.
_NAMED = re.compile(r"\b(join|update|into)\s+(?:only\s+)?(\w+|\{[^}]*\})", re.IGNORECASE)
_LISTED = re.compile(r"(?<!distinct )\b(delete\s+from|from)\s+", re.IGNORECASE)
_LIST_ENDS = re.compile(
    r"\b(where|join|left|right|full|cross|inner|natural|on|using|order|group|having|limit|offset|union|except|intersect"
    r"|window|for|returning|set)\b",
    re.IGNORECASE,
)


@functools.cache
def own_tables() -> dict[str, str]:
    """Each table's room."""
    owned = {model._meta.db_table: model._meta.app_label for model in apps.get_models(include_auto_created=True)}
    return {table: room for table, room in owned.items() if room in FOLDERS}


def texts(source: str) -> Iterator[str]:
    """The strings of a module, with `{expression}` for what an f-string is filled with; docstrings are none."""
    tree = ast.parse(source)
    passed: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            passed.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            passed.update(node.values)
        if node in passed:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else filled(part) for part in node.values)
            yield "".join(parts)


def filled(part: ast.expr) -> str:
    return f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else "{}"


def listed(text: str) -> Iterator[str]:
    """The names of a list of tables, from its beginning; what stands in parentheses has its own."""
    depth, plain = 0, ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0 or character == ";":
            break
        plain += character if depth == 0 else " "
    for one in _LIST_ENDS.split(plain)[0].split(","):
        if found := re.match(r"\s*(?:only\s+|lateral\s+)?(\w+|\{[^}]*\})", one, re.IGNORECASE):
            yield found[1]


def named_tables(source: str) -> set[tuple[str, bool]]:
    """The tables that a module's SQL names, and whether it writes to them."""
    found: set[tuple[str, bool]] = set()
    for text in texts(source):
        named = {(match[2], match[1].lower() != "join") for match in _NAMED.finditer(text)}
        for match in _LISTED.finditer(text):
            named |= {(name, match[1].lower() != "from") for name in listed(text[match.end() :])}
        is_sql = re.search(r"\b(select|insert|update|delete)\b", text)  # no more than "a number from {low} to {high}"
        found |= {(name, writes) for name, writes in named if is_sql or not name.startswith("{")}
    return found


def foreign_tables(room: str, source: str) -> set[str]:
    """Those that are not for the SQL of a module of this room."""
    owner = own_tables()
    return {
        name
        for name, writes in named_tables(source)
        if (name in owner and owner[name] not in ((room,) if writes else (room, "core")))
        or (name.startswith("{") and room not in ("core", "memory"))
    }


def test_no_room_reads_anothers_tables_by_sql() -> None:
    found: set[tuple[str, str]] = set()
    seen: set[str] = set()
    for room, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            if "migrations" not in path.parts:  # they tell what was once
                source = path.read_text()
                seen |= {name for name, _ in named_tables(source)}
                found |= {(path.relative_to(ROOT).as_posix(), table) for table in foreign_tables(room, source)}
    assert {"event", "membership", "api_key", "task", "search_posting", "heartbeat"} <= seen
    assert not found, "ask a selector of the room that owns the table"


@pytest.mark.parametrize(
    ("room", "source", "table"),
    [
        ("interface", "_KEYS = 'select id from api_key where revoked_at is null'", "api_key"),
        ("interface", "run('''\n  select 1\n  FROM\n    api_key k''')", "api_key"),
        ("memory", "run('select 1 from task t, escalation s where s.task_id = t.id')", "escalation"),
        ("memory", "run('select 1 from unnest(%s::int[]) n(id), lateral (select 1) x, queue q')", "queue"),
        ("memory", "run('select 1 from (select id from escalation) s')", "escalation"),
        ("escalations", "run(f'select {columns} from event e join task t on t.{condition}')", "task"),
        ("escalations", "run('select 1 ' 'from fact f')", "fact"),
        ("escalations", "run('update task set status = 1')", "task"),
        ("agents", "run('insert into observation (id) values (1)')", "observation"),
        ("agents", "run('delete from only decision where true')", "decision"),
        ("agents", "run('update membership set role = 1')", "membership"),  # core's are read only
        ("core", "run('select 1 from task')", "task"),
        ("escalations", "run(f'select id from {schema.table} r')", "{schema.table}"),
        ("agents", "run('select id from {table} r'.format(table=table))", "{table}"),
        ("config", "run('select 1 from agent')", "agent"),
    ],
)
def test_a_table_of_another_room_is_found(room: str, source: str, table: str) -> None:
    """The control of the test before."""
    assert foreign_tables(room, source) == {table}


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("agents", "run('select 1 from api_key k join membership m on true, team t for share of m')"),
        ("memory", "run(f'select id from {table} r')"),
        ("memory", "'''It is read from task, queue and agent.'''"),
        ("interface", "raise ValueError(f'a number from {low} to {high}')"),
        ("interface", "run('select extract(epoch from e.at), e.actor_id is distinct from task from event e')"),
        ("escalations", "run('select task, agent, fact from escalation order by task, agent')"),
    ],
)
def test_what_a_room_may_read_is_not_found(room: str, source: str) -> None:
    assert not foreign_tables(room, source)


def test_a_right_is_lost_with_its_credential_and_nothing_else_is() -> None:
    team = make_team()
    kept, ended = make_agent(team), make_agent(team)
    keys.revoke(system_viewer(team.id), key=ApiKey.objects.get(id=ended.viewer.credential))
    narrowed = replace(kept.viewer, scopes=frozenset({"tasks"}))
    gone = {Rights(ended.viewer), Rights(narrowed), Rights(replace(kept.viewer, credential=None))}
    assert revoked_among({Rights(kept.viewer), *gone}) == gone


def test_a_session_is_lost_with_its_end_and_with_the_password() -> None:
    from django.contrib.sessions.backends.db import SessionStore

    person = make_person(make_team())
    session = SessionStore()
    session.create()
    password = person.membership.actor.password
    held = Rights(person.viewer, session=session.session_key, password=password)
    gone = {replace(held, session=uuid4().hex), replace(held, password="another"), replace(held, password=None)}
    assert revoked_among({held, *gone}) == gone
    session.delete()
    assert revoked_among({held}) == {held}


def test_rights_are_checked_by_a_query_for_memberships_and_one_a_kind_of_credential() -> None:
    team = make_team()
    asked = {Rights(make_agent(team).viewer) for _ in range(3)}
    asked |= {Rights(make_person(team).viewer, session=uuid4().hex) for _ in range(3)}
    with CaptureQueriesContext(connection) as counted:
        revoked_among(asked)
    assert len(counted) == 3


def test_a_credential_that_nobody_checks_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Rights(make_agent(make_team()).viewer)
    assert not revoked_among({held})
    monkeypatch.delitem(rights._checks, "key")
    assert revoked_among({held}) == {held}


def test_a_kind_of_credential_has_one_check() -> None:
    rights.register("key", keys.read_scopes)  # the same again, as when apps are made ready twice
    with pytest.raises(ValueError, match="check already"):
        rights.register("key", lambda credentials: {})

"""The second lock: what PostgreSQL shows, takes and refuses when the product's own filter is forgotten."""

import json
import os
import re
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from django.test import RequestFactory
from psycopg import errors, sql

from agents.api.doors import ReadEndpoint
from memoryhub.core.access.labels import ensure_label
from memoryhub.core.db.statements import flush
from memoryhub.core.ids import new_id
from memoryhub.core.models import EventSeq, Sensitivity
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.memory.actions import observations
from memoryhub.memory.actions.observations import NewObservation
from memoryhub.memory.models import Observation
from tests.support.factories import make_agent, make_person, make_team
from tests.support.labelled_world import CHANGED, GUARDED, KEPT, LABELLED, LEDGER, Trial, count, make_trial
from tests.support.servers import ROOT

Connection = psycopg.Connection[Any]
REFUSED = "row-level security"


@pytest.fixture(scope="module")
def trial() -> Trial:
    made = make_trial()
    with viewer_transaction(made.high.viewer):
        read_text(made.hidden)  # so that the access log has a row under the hidden label
    return made


def raw() -> Connection:
    """The app role's connection inside this transaction, with the viewer's settings, which wait to be sent."""
    flush()
    made: Connection = connection.connection
    return made


def shown(viewer: Viewer, table: str) -> int:
    """How many rows of a table the app role's connection shows this viewer, without any filter."""
    with viewer_transaction(viewer, read_only=True):
        return count(raw(), table)


def hidden_row(owner: Connection, trial: Trial, table: str) -> dict[str, Any]:
    """A row of the table under the hidden label, as the owner sees it."""
    statement = sql.SQL("select to_jsonb(r) from {} r where label_id = %s limit 1").format(sql.Identifier(table))
    row = owner.execute(statement, [trial.hidden_label]).fetchone()
    assert row is not None, f"{table} has no row under the hidden label: make one in tests.support.labelled_world"
    found: dict[str, Any] = row[0]
    return found


@pytest.mark.parametrize("table", GUARDED)
def test_no_viewer_no_rows(app_sql: Connection, owner_sql: Connection, trial: Trial, table: str) -> None:
    assert count(app_sql, table) == 0
    assert count(owner_sql, table, trial.team.id) > 0  # the control: there is something to hide


@pytest.mark.parametrize("table", [*LABELLED, *LEDGER])
def test_a_viewer_sees_what_the_label_allows(owner_sql: Connection, trial: Trial, table: str) -> None:
    hidden_row(owner_sql, trial, table)
    # The ledger has events under other labels of the compartment, too: those that name it.
    under = sql.SQL(
        "select count(*) from {} r where team_id = %s and exists"
        " (select from label l where l.id = r.label_id and l.sensitivity <= 1 and l.compartments = '{{}}')"
    ).format(sql.Identifier(table))
    row = owner_sql.execute(under, [trial.team.id]).fetchone()
    assert row is not None
    assert shown(trial.low.viewer, table) == row[0]
    assert shown(trial.high.viewer, table) == count(owner_sql, table, trial.team.id)


@pytest.mark.parametrize("table", LABELLED)
def test_no_policy_offers_an_index_on_the_team(owner_sql: Connection, table: str) -> None:
    """A plan that begins with the team reads all of its rows, whatever the query asks: see rls.team_as_filter()."""
    found = owner_sql.execute("select policyname, qual from pg_policies where tablename = %s", [table]).fetchall()
    assert found
    assert [name for name, condition in found if condition and re.search(r"\(team_id = \(", condition)] == []


@pytest.mark.parametrize("table", GUARDED)
def test_another_team_sees_nothing(trial: Trial, table: str) -> None:
    stranger = make_person(make_team(), "admin", Sensitivity.CONFIDENTIAL, ["finance"]).viewer
    with viewer_transaction(stranger, read_only=True):
        statement = sql.SQL("select count(*) from {} where team_id <> %s").format(sql.Identifier(table))
        assert raw().execute(statement, [stranger.team]).fetchone() == (0,)
        by_id = sql.SQL("select count(*) from {} where team_id = %s").format(sql.Identifier(table))
        assert raw().execute(by_id, [trial.team.id]).fetchone() == (0,)


@pytest.mark.parametrize("table", [*LABELLED, *LEDGER])
def test_a_hidden_label_cannot_be_written(owner_sql: Connection, trial: Trial, table: str) -> None:
    row = hidden_row(owner_sql, trial, table)
    name = sql.Identifier(table)
    insert = sql.SQL("insert into {} select * from jsonb_populate_record(null::{}, %s)").format(name, name)
    for made in ({**row, "id": str(new_id())}, row):  # the very same id, too: refused before the unique key tells
        with (
            pytest.raises(errors.InsufficientPrivilege, match=REFUSED),
            viewer_transaction(trial.low.viewer),
        ):
            raw().execute(insert, [json.dumps(made)])


@pytest.mark.parametrize("table", CHANGED)
def test_hidden_rows_are_not_changed(owner_sql: Connection, trial: Trial, table: str) -> None:
    row, name = hidden_row(owner_sql, trial, table), sql.Identifier(table)
    with viewer_transaction(trial.low.viewer):
        for statement in ("update {} set sensitivity = 0 where id = %s", "delete from {} where id = %s"):
            assert raw().execute(sql.SQL(statement).format(name), [row["id"]]).rowcount == 0
        everything = sql.SQL("update {} set created_at = created_at where label_id = %s").format(name)
        assert raw().execute(everything, [trial.hidden_label]).rowcount == 0
        locked = sql.SQL("select 1 from {} where id = %s for update").format(name)
        assert raw().execute(locked, [row["id"]]).rowcount == 0
    up = sql.SQL("update {} set label_id = %s, sensitivity = 2").format(name)
    with pytest.raises(errors.InsufficientPrivilege, match=REFUSED), viewer_transaction(trial.low.viewer):
        raw().execute(up, [trial.hidden_label])
    assert hidden_row(owner_sql, trial, table) == row


def test_a_row_cannot_be_moved_to_another_team(trial: Trial) -> None:
    other = make_team().id
    for table in LABELLED:
        with pytest.raises(errors.InsufficientPrivilege), viewer_transaction(trial.low.viewer):
            raw().execute(sql.SQL("update {} set team_id = %s").format(sql.Identifier(table)), [other])


@pytest.mark.parametrize("table", LABELLED)
def test_a_row_says_its_labels_sensitivity(owner_sql: Connection, trial: Trial, table: str) -> None:
    """The composite foreign key: nothing under a confidential label can call itself internal and stand in the open."""
    row = hidden_row(owner_sql, trial, table)
    lowered = sql.SQL("update {} set sensitivity = 0, sealed = null, body = '{{}}' where id = %s")
    with pytest.raises(errors.ForeignKeyViolation):
        owner_sql.execute(lowered.format(sql.Identifier(table)), [row["id"]])


@pytest.mark.parametrize(
    "statement",
    [
        *[f"truncate {table}" for table in [*GUARDED, "label", "outbox", "idempotency", "team_key"]],
        *[f"alter table {table} disable row level security" for table in GUARDED],
        *[f"delete from {table}" for table in (*KEPT, "event_seq")],
        *[f"update {table} set team_id = team_id" for table in KEPT],
        "update event set type = type",
        "update event_seq set seq = seq + 1",
        "update access_log set reason = 'none'",
        "update label set sensitivity = 0",
        "insert into event_seq (team_id, seq, event_id) select 1, 999999, gen_random_uuid()",
        "alter table event disable trigger zz_number",
        "drop trigger zz_number on event",
        "drop policy event_read on event",
        "create policy everything on event for select using (true)",
        "set session_replication_role = replica",
        "set role memoryhub_owner",
        "set session authorization memoryhub_owner",
        "alter role current_user bypassrls",
        "create table mine (id int)",
        "copy event to program 'cat'",
        "select pg_read_file('PG_VERSION')",
    ],
)
def test_the_app_role_may_not(app_sql: Connection, trial: Trial, statement: str) -> None:
    with app_sql.transaction(force_rollback=True):
        app_sql.execute("select set_config('hub.team', %s, true)", [str(trial.team.id)])
        with pytest.raises(errors.InsufficientPrivilege):
            app_sql.execute(statement)


class Forgotten(ReadEndpoint):
    """A page whose author forgot visible_to()."""

    def read(self) -> list[str]:
        return [str(found) for found in Observation.objects.values_list("id", flat=True)]


def read_forgotten(key: str) -> set[UUID]:
    request = RequestFactory().get("/", headers={"Authorization": f"Bearer {key}"})
    request.META["HUB_REQUEST_ID"] = "forgotten"
    answer = Forgotten.as_view()(request)
    assert answer.status_code == 200, answer.content
    return {UUID(found) for found in json.loads(answer.content)}


def test_a_page_with_a_forgotten_filter_shows_only_what_is_visible(owner_sql: Connection, trial: Trial) -> None:
    rows = owner_sql.execute("select id, label_id from observation where team_id = %s", [trial.team.id]).fetchall()
    low = make_agent(trial.team)
    assert read_forgotten(low.key) == {row for row, label in rows if label != trial.hidden_label}
    assert read_forgotten(trial.agent.key) == {row for row, _ in rows}  # the control: there is more


def test_private_observations_are_their_authors(trial: Trial) -> None:
    mine = observations.log(trial.agent.viewer, item=NewObservation(content="thought", private=True)).id
    assert mine in read_forgotten(trial.agent.key)
    assert mine not in read_forgotten(make_agent(trial.team, 2, ["finance"]).key)
    for viewer, seen in ((trial.agent.viewer, 1), (trial.high.viewer, 0), (system_viewer(trial.team.id), 1)):
        with viewer_transaction(viewer, read_only=True), connection.cursor() as cursor:
            cursor.execute("select count(*) from event where row_id = %s", [mine])
            assert cursor.fetchone() == (seen,), viewer.name


def settings_now() -> list[str]:
    """The four settings that the policies test, as this thread's connection has them; '' where there is none."""
    with connection.cursor() as cursor:
        names = ("hub.team", "hub.labels", "hub.actor", "hub.system")
        cursor.execute("select " + ", ".join(f"coalesce(current_setting('{name}', true), '')" for name in names))
        return list(cursor.fetchone())


def test_settings_end_with_the_transaction(trial: Trial) -> None:
    with viewer_transaction(system_viewer(trial.team.id)):
        assert all(settings_now())
        assert count(raw(), "task") == 2
    assert settings_now() == [""] * 4
    assert Observation.objects.count() == EventSeq.objects.count() == 0
    with pytest.raises(ZeroDivisionError), viewer_transaction(trial.high.viewer):
        raise ZeroDivisionError
    assert settings_now() == [""] * 4
    with viewer_transaction(trial.low.viewer):
        assert settings_now()[3] == ""  # the system's sight is not inherited


ENTER = (
    "select set_config('hub.actor', '{}', true), set_config('hub.team', %s, true), set_config('hub.labels', %s, true)"
)


def test_nobody_signs_an_event_with_anothers_name(trial: Trial) -> None:
    high, low = trial.high.viewer, trial.low.viewer
    with viewer_transaction(high):
        label = ensure_label(high, Sensitivity.INTERNAL).id
    write = (
        "insert into event (id, team_id, label_id, type, actor_id, row_type, data)"
        f" values (gen_random_uuid(), {high.team}, {label}, 'x', '{high.membership}', 'x', '{{}}')"
    )
    with psycopg.connect(os.environ["DATABASE_URL"]) as raw:
        raw.execute(ENTER.format(low.membership), [str(low.team), f"{{{label}}}"])
        with pytest.raises(errors.InsufficientPrivilege):
            raw.execute(write)
        raw.rollback()
        raw.execute(ENTER.format(high.membership), [str(high.team), f"{{{label}}}"])
        raw.execute(write)  # the control: under one's own name it is taken
        raw.rollback()


def test_what_the_ledger_refers_to_is_never_deleted(app_sql: Connection) -> None:
    for table in ("team", "membership", "label", "actor", "event"):
        with pytest.raises(errors.InsufficientPrivilege):
            app_sql.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))


def test_one_transaction_writes_one_teams_ledger(trial: Trial) -> None:
    """A forged second team is stopped by the policy; where somebody changes the settings midway, by the trigger."""
    person = make_person(make_team()).viewer
    with viewer_transaction(person):
        label = ensure_label(person, Sensitivity.INTERNAL).id
    enter = ENTER.format(person.membership)
    ours, theirs = [str(trial.team.id), f"{{{trial.hidden_label}}}"], [str(person.team), f"{{{label}}}"]
    write = (
        "insert into event (id, team_id, label_id, type, actor_id, row_type, data)"
        f" values (gen_random_uuid(), {person.team}, {label}, 'x', '{person.membership}', 'x', '{{}}')"
    )
    with psycopg.connect(os.environ["DATABASE_URL"]) as raw:
        raw.execute(enter, ours)
        with pytest.raises(errors.InsufficientPrivilege):
            raw.execute(write)
        raw.rollback()
        raw.execute(enter, theirs)
        raw.execute(write)
        raw.execute(enter, ours)
        with pytest.raises(errors.FeatureNotSupported, match="one team's ledger"):
            raw.commit()
        raw.rollback()
        raw.execute(enter, theirs)
        raw.execute(write)
        raw.commit()  # the control: the same without the change is taken


def test_every_table_is_behind_row_level_security_or_named_in_the_documents(owner_sql: psycopg.Connection[Any]) -> None:
    """docs/security.md says of each table without it why that is safe: none is forgotten, and none is named in vain."""
    rows = owner_sql.execute(
        "select relname, relrowsecurity from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
    ).fetchall()
    words = (ROOT / "docs" / "security.md").read_text()
    table = words.partition("Tables without row-level security")[2].partition("\n## ")[0]
    named = [
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert len(named) == len(set(named))
    assert set(named) == {name for name, is_behind in rows if not is_behind}
    assert sum(is_behind for _, is_behind in rows) > 15

"""Confidential content at rest: the row it was sealed for opens it; anything else is unavailable, never a crash."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import OperationalError
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from psycopg import errors, sql

from memoryhub.core.access.labels import LabelRef, ensure_label
from memoryhub.core.errors import Unavailable
from memoryhub.core.ids import new_id
from memoryhub.core.models import AccessLog, Label, Sensitivity, Team
from memoryhub.core.secrecy import sealing
from memoryhub.core.secrecy.sealing import UNAVAILABLE, make_team_key, read_text, text_columns, unseal
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.interface.http.problems import error_of
from memoryhub.memory.models import Task
from tests.support.factories import make_agent, make_team, unique
from tests.support.labelled_world import LABELLED, Trial, make_task, make_trial

TEXT = {"title": "a confidential title", "amount": 12.5, "nested": {"list": [1, None, "ü"]}}


@pytest.fixture(scope="module")
def trial() -> Trial:
    return make_trial()


@pytest.fixture(scope="module")
def viewer() -> Viewer:
    return make_agent(make_team(), Sensitivity.CONFIDENTIAL, ["pii"]).viewer


@pytest.fixture(scope="module")
def label(viewer: Viewer) -> LabelRef:
    with viewer_transaction(viewer):
        return ensure_label(viewer, Sensitivity.CONFIDENTIAL)


@pytest.fixture(autouse=True)
def in_transaction(viewer: Viewer) -> Iterator[None]:
    with viewer_transaction(viewer, read_only=True):
        yield


def seal(label: LabelRef, row: UUID, version: int = 1) -> bytes:
    columns = text_columns("task", row, label, TEXT, version)
    assert columns["body"] is None
    sealed: bytes = columns["sealed"]
    return sealed


def test_round_trip(label: LabelRef) -> None:
    row = new_id()
    sealed = seal(label, row)
    assert unseal("task", row, label.id, sealed, 1) == TEXT
    assert b"confidential" not in sealed
    assert seal(label, row) != sealed  # a fresh nonce each time


def test_only_confidential_is_sealed(viewer: Viewer) -> None:
    for level in (Sensitivity.PUBLIC, Sensitivity.INTERNAL):
        ref = LabelRef(1, viewer.team, level, ("pii",))
        assert text_columns("task", new_id(), ref, TEXT) == {"body": TEXT, "sealed": None}


def test_moved_or_relabelled_it_does_not_open(viewer: Viewer, label: LabelRef) -> None:
    row = new_id()
    sealed = seal(label, row)
    twin = ensure_label(viewer, Sensitivity.CONFIDENTIAL, ["pii"])
    for place in (
        ("observation", row, label.id, 1),
        ("task", new_id(), label.id, 1),
        ("task", row, twin.id, 1),
        ("task", row, label.id, 2),
    ):
        assert unseal(place[0], place[1], place[2], sealed, place[3]) == UNAVAILABLE, place
    assert unseal("task", row, label.id, sealed, 1) == TEXT  # the control


def test_in_another_team_it_does_not_open(label: LabelRef) -> None:
    row = new_id()
    sealed = seal(label, row)
    other = Label.objects.create(team=make_other_team(), sensitivity=2, compartments=[])
    assert unseal("task", row, other.id, sealed, 1) == UNAVAILABLE


def make_other_team() -> Team:
    """A team made in this test's transaction."""
    return Team.objects.create(slug=unique("other"), name="Other")


@effort(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_it_is_unavailable_and_never_a_crash(label: LabelRef, data: st.DataObject) -> None:
    row = new_id()
    sealed = seal(label, row)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = bytearray(sealed)
    flipped[bit // 8] ^= 1 << bit % 8
    cut = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    longer = sealed + data.draw(st.binary(min_size=1, max_size=20))
    for damaged in (bytes(flipped), cut, longer, data.draw(st.binary(max_size=80))):
        assert unseal("task", row, label.id, damaged, 1) == UNAVAILABLE


def test_another_key_is_made_and_what_the_old_one_sealed_still_opens(viewer: Viewer, label: LabelRef) -> None:
    row = new_id()
    old = seal(label, row)
    made = make_team_key(viewer.team)
    new = seal(label, row)
    assert old[1:5] != new[1:5] == made.id.to_bytes(4)
    assert old[0] == new[0] == 1
    for sealed in (old, new):
        assert unseal("task", row, label.id, sealed, 1) == TEXT


def forget() -> None:
    """As in a process that has not used the keys."""
    sealing.forget_keys()
    sealing._opened.clear()


Connection = psycopg.Connection[Any]


@pytest.mark.parametrize("table", LABELLED)
def test_the_database_takes_nothing_plain_under_a_confidential_label(
    owner_sql: Connection, trial: Trial, table: str
) -> None:
    name = sql.Identifier(table)
    ((hidden,), (plain,)) = (
        owner_sql.execute(
            sql.SQL("select id from {} where team_id = %s and (label_id = %s) = %s limit 1").format(name),
            [trial.team.id, trial.hidden_label, is_hidden],
        ).fetchall()[0]
        for is_hidden in (True, False)
    )
    refused = [
        (hidden, "body = '{{}}'"),  # beside the sealed
        (hidden, "body = '{{}}', sealed = null"),  # instead of it
        (hidden, "sealed = null"),
        (plain, "sealed = '\\x00'"),
        (plain, "body = null"),
        (plain, "sensitivity = 2"),
    ]
    for row, change in refused:
        statement = sql.SQL("update {} set " + change + " where id = %s").format(name)
        with pytest.raises(errors.CheckViolation, match=f"{table.rsplit('_', maxsplit=1)[-1]}_sealed_if_confidential"):
            owner_sql.execute(statement, [row])


class TestErasing:
    """The owner changes a data key that was committed; the serving login may not."""

    @pytest.fixture(autouse=True)
    def in_transaction(self) -> None:
        """These open their own."""

    @staticmethod
    def opened(viewer: Viewer, label: LabelRef, row: UUID, sealed: bytes) -> dict[str, Any]:
        forget()
        with viewer_transaction(viewer, read_only=True):
            return unseal("task", row, label.id, sealed, 1)

    def test_an_erased_moved_or_damaged_data_key_makes_it_unavailable_and_sealing_a_503(
        self, owner_sql: Connection
    ) -> None:
        viewer, row = make_agent(make_team(), Sensitivity.CONFIDENTIAL).viewer, new_id()
        with viewer_transaction(viewer):
            label = ensure_label(viewer, Sensitivity.CONFIDENTIAL)
            sealed = seal(label, row)
        ((key, wrapped),) = owner_sql.execute("select id, wrapped from team_key where team_id = %s", [viewer.team])
        assert self.opened(viewer, label, row, sealed) == TEXT
        broken = (b"", wrapped[:20], wrapped[:-1] + bytes([wrapped[-1] ^ 1]))
        for change, value in (*(("wrapped", value) for value in broken), ("team_id", make_team().id), ("id", None)):
            statement = "delete from team_key where id = %(key)s" if value is None else ""
            statement = statement or f"update team_key set {change} = %(value)s where id = %(key)s"
            owner_sql.execute(statement, {"value": value, "key": key})
            assert self.opened(viewer, label, row, sealed) == UNAVAILABLE
            with pytest.raises(Unavailable), viewer_transaction(viewer):
                seal(label, row)
            back = {"wrapped": wrapped, "team_id": viewer.team}
            if change in back:
                owner_sql.execute(f"update team_key set {change} = %s where id = %s", [back[change], key])
                assert self.opened(viewer, label, row, sealed) == TEXT
        make_team_key(viewer.team)
        with viewer_transaction(viewer):
            anew = seal(label, row)
        assert self.opened(viewer, label, row, anew) == TEXT
        assert self.opened(viewer, label, row, sealed) == UNAVAILABLE

    def test_the_first_master_key_wraps_and_older_ones_still_open(self, owner_sql: Connection, settings: Any) -> None:
        viewer, row, master_keys = (
            make_agent(make_team(), Sensitivity.CONFIDENTIAL).viewer,
            new_id(),
            settings.MASTER_KEYS,
        )

        def sealed_now() -> bytes:
            with viewer_transaction(viewer):
                return seal(label, row)

        with viewer_transaction(viewer):
            label = ensure_label(viewer, Sensitivity.CONFIDENTIAL)
        old_key, old = make_team_key(viewer.team), sealed_now()
        settings.MASTER_KEYS = {"next": AESGCM.generate_key(256), **master_keys}
        new_key = make_team_key(viewer.team)
        try:
            new = sealed_now()
            assert (old_key.master, new_key.master) == (next(iter(master_keys)), "next")
            assert self.opened(viewer, label, row, old) == self.opened(viewer, label, row, new) == TEXT
            settings.MASTER_KEYS = master_keys  # the new one is lost, or the old configuration came back
            assert self.opened(viewer, label, row, new) == UNAVAILABLE
            assert self.opened(viewer, label, row, old) == TEXT
            settings.MASTER_KEYS = {name: AESGCM.generate_key(256) for name in master_keys}  # the wrong key by its name
            assert self.opened(viewer, label, row, old) == UNAVAILABLE
        finally:
            owner_sql.execute("delete from team_key where id = %s", [new_key.id])  # no other test meets it
            forget()

    def test_a_key_that_is_erased_between_sealing_and_writing_seals_nothing(self, owner_sql: Connection) -> None:
        agent = make_agent(make_team(), Sensitivity.CONFIDENTIAL)
        make_task(agent.viewer, Sensitivity.CONFIDENTIAL)
        owner_sql.execute("delete from team_key where team_id = %s", [agent.viewer.team])
        # This process trusts what it knows for a second: the database does not.
        sealing._known = sealing._known._replace(until=time.monotonic() + 60)
        with pytest.raises(OperationalError) as refused:
            make_task(agent.viewer, Sensitivity.CONFIDENTIAL)
        assert error_of(refused.value).status == 503
        forget()

    def test_the_serving_login_can_neither_change_nor_remove_a_data_key(self, app_sql: Connection) -> None:
        for statement in ("delete from team_key", "update team_key set wrapped = ''", "truncate team_key"):
            with pytest.raises(errors.InsufficientPrivilege):
                app_sql.execute(statement)


def readings(trial: Trial, row: UUID) -> list[tuple[UUID, str, str]]:
    with viewer_transaction(system_viewer(trial.team.id), read_only=True):
        return list(AccessLog.objects.filter(row_id=row).values_list("reader_id", "row_type", "reason"))


class TestAccessLog:
    """Who opened what is confidential."""

    @pytest.fixture(autouse=True)
    def in_transaction(self) -> None:
        """These open their own."""

    def test_opening_is_recorded_once_a_transaction(self, trial: Trial) -> None:
        task = make_task(trial.agent.viewer, Sensitivity.CONFIDENTIAL)
        for _ in range(2):
            with viewer_transaction(trial.high.viewer, read_only=True):
                for _ in range(3):
                    assert read_text(Task.objects.get(id=task.id))["title"] == "A task"
        assert readings(trial, task.id) == [(trial.high.membership.id, "task", "confidential")] * 2

    def test_what_is_not_confidential_is_not_recorded(self, trial: Trial) -> None:
        task = make_task(trial.agent.viewer)
        with viewer_transaction(trial.high.viewer, read_only=True):
            assert read_text(Task.objects.get(id=task.id))["title"] == "A task"
        assert readings(trial, task.id) == []

    def test_the_systems_work_is_not_a_reading(self, trial: Trial) -> None:
        task = make_task(trial.agent.viewer, Sensitivity.CONFIDENTIAL)
        with viewer_transaction(system_viewer(trial.team.id)):
            assert read_text(Task.objects.get(id=task.id))["title"] == "A task"
        assert readings(trial, task.id) == []

    def test_what_does_not_open_was_asked_for_all_the_same(self, trial: Trial, owner_sql: Connection) -> None:
        task = make_task(trial.agent.viewer, Sensitivity.CONFIDENTIAL)
        other = make_task(trial.agent.viewer, Sensitivity.CONFIDENTIAL)
        # What somebody with the owner's password could do: copy a sealed text to where they may read it.
        owner_sql.execute(
            "update task set sealed = (select sealed from task where id = %s) where id = %s", [task.id, other.id]
        )
        with viewer_transaction(trial.high.viewer, read_only=True):
            assert read_text(Task.objects.get(id=other.id)) == UNAVAILABLE
        assert len(readings(trial, other.id)) == 1

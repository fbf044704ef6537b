"""The one way to the database: whose it is, what it may do, and what happens only after it."""

import threading
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from memoryhub.core import wake
from memoryhub.core.access.labels import ensure_label
from memoryhub.core.ids import new_id
from memoryhub.core.ledger import events
from memoryhub.core.models import AccessLog, Event, EventSeq, Label, Outbox, Sensitivity
from memoryhub.core.outbox import jobs
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.memory.models import Task
from tests.support.factories import make_agent, make_person, make_team
from tests.support.labelled_world import make_task

HANDLER = "trial.leave_a_mark"


@pytest.fixture
def viewer() -> Viewer:
    return make_agent(make_team(), Sensitivity.CONFIDENTIAL).viewer


def append(viewer: Viewer, label: int | None = None) -> Any:
    return events.append(
        viewer,
        "trial.happen",
        label=label or ensure_label(viewer, Sensitivity.INTERNAL).id,
        row_type="trial",
        row_id=new_id(),
    )


def test_it_joins_the_one_of_the_same_viewer(viewer: Viewer) -> None:
    with viewer_transaction(viewer) as outer:
        first = append(viewer)
        with viewer_transaction(viewer) as inner:
            assert inner is outer is current()
            second = append(viewer)
        assert outer.seq is None  # nothing is committed by the inner one
    with viewer_transaction(viewer, read_only=True):
        newest = Event.objects.order_by("-clock__seq").values_list("id", "clock__seq")[:2]
        assert list(newest) == [(second, outer.seq), (first, outer.seq - 1)]


def test_another_viewer_is_refused(viewer: Viewer) -> None:
    other = make_agent(make_team()).viewer
    with viewer_transaction(viewer):
        with pytest.raises(RuntimeError, match="one viewer"), viewer_transaction(other):
            pass
        with pytest.raises(RuntimeError, match="may not write"):
            append(other, label=1)
        assert current().viewer == viewer


def test_it_is_not_opened_inside_a_plain_one(viewer: Viewer) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"), viewer_transaction(viewer):
        pass


def test_a_read_only_one_refuses_the_ledger(viewer: Viewer) -> None:
    label = make_task(viewer).label_id
    with viewer_transaction(viewer, read_only=True), pytest.raises(RuntimeError, match="may not write"):
        append(viewer, label)


def test_a_read_only_one_records_readings(viewer: Viewer) -> None:
    made = make_task(viewer, Sensitivity.CONFIDENTIAL)
    with viewer_transaction(viewer, read_only=True):
        assert read_text(Task.objects.get(id=made.id))["title"] == "A task"
    with viewer_transaction(viewer, read_only=True):
        assert AccessLog.objects.filter(row_id=made.id, reader_id=viewer.membership).count() == 1


def test_outside_of_one_there_is_none(viewer: Viewer) -> None:
    with pytest.raises(RuntimeError, match="viewer_transaction"):
        current()
    with pytest.raises(RuntimeError, match="viewer_transaction"):
        append(viewer, label=1)
    with pytest.raises(RuntimeError, match="viewer_transaction"):
        jobs.schedule(viewer, HANDLER, row_id=None)


def test_it_belongs_to_its_thread(viewer: Viewer) -> None:
    found: list[object] = []

    def look() -> None:
        try:
            found.append(current())
        except RuntimeError as error:
            found.append(error)

    with viewer_transaction(viewer):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert isinstance(found[0], RuntimeError)


def last_seq(viewer: Viewer) -> int:
    with viewer_transaction(viewer, read_only=True):
        return EventSeq.objects.latest("seq").seq


def fail_midway(viewer: Viewer, row: UUID) -> None:
    with viewer_transaction(viewer):
        append(viewer)
        jobs.schedule(viewer, HANDLER, row_id=row)
        raise ZeroDivisionError


def fail_in_commit(viewer: Viewer, row: UUID) -> None:
    other = make_person(make_team()).viewer
    with viewer_transaction(viewer):
        append(viewer)
        jobs.schedule(viewer, HANDLER, row_id=row)
        write_for(other)


def test_a_failure_leaves_nothing_and_announces_nothing(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[object] = []
    monkeypatch.setattr(wake, "ring", lambda team, seq: announced.append((team, seq)))
    monkeypatch.setattr(wake, "work", announced.extend)
    before, row = last_seq(viewer), new_id()
    with pytest.raises(ZeroDivisionError):
        fail_midway(viewer, row)
    with pytest.raises(DatabaseError, match="one team's ledger"):
        fail_in_commit(viewer, row)
    assert last_seq(viewer) == before
    assert not Outbox.objects.filter(row_id=row).exists()
    with viewer_transaction(viewer) as after:
        append(viewer)
    assert after.seq == before + 1  # no number is lost with what failed
    assert [found for found in announced if isinstance(found, tuple) and found[0] == viewer.team] == [
        (viewer.team, after.seq)
    ]


def test_a_block_of_djangos_inside_is_a_savepoint(viewer: Viewer) -> None:
    def fail(task: Task) -> None:
        with transaction.atomic():
            Task.objects.filter(id=task.id).update(version=99)
            raise LookupError

    with viewer_transaction(viewer) as mine:
        task = make_task(viewer)
        with pytest.raises(LookupError):
            fail(task)
    assert mine.seq
    with viewer_transaction(viewer, read_only=True):
        assert Task.objects.get(id=task.id).version == 1


def test_djangos_hooks_run_after_the_commit_and_only_then(viewer: Viewer) -> None:
    heard: list[str] = []

    def fail() -> None:
        with viewer_transaction(viewer):
            transaction.on_commit(lambda: heard.append("undone"))
            raise LookupError

    with viewer_transaction(viewer):
        task = make_task(viewer)
        transaction.on_commit(lambda: heard.append("kept" if Task.objects.filter(id=task.id).count() == 0 else "?"))
        assert heard == []
    assert heard == ["kept"]  # outside the transaction, where row-level security shows nothing
    with pytest.raises(LookupError):
        fail()
    with viewer_transaction(viewer):
        make_task(viewer)
    assert heard == ["kept"]


def test_a_connection_that_is_lost_midway_is_made_anew(viewer: Viewer, app_sql: Any) -> None:
    before = last_seq(viewer)

    def lose() -> None:
        with viewer_transaction(viewer):
            append(viewer)
            with connection.cursor() as cursor:
                cursor.execute("select pg_backend_pid()")
                app_sql.execute("select pg_terminate_backend(%s, 5000)", cursor.fetchone())
            assert Task.objects.count()

    with pytest.raises(OperationalError):
        lose()
    connection.close_if_unusable_or_obsolete()
    with viewer_transaction(viewer) as after:
        append(viewer)
    assert after.seq == before + 1


def write_for(other: Viewer) -> None:
    """Write an event of another team under that team's settings, so that only the trigger refuses it."""
    label = Label.objects.filter(team_id=other.team).values_list("id", flat=True)[0]
    with connection.cursor() as cursor:
        settings = [str(other.team), f"{{{label}}}"]
        cursor.execute("select set_config('hub.team', %s, true), set_config('hub.labels', %s, true)", settings)
        cursor.execute("select set_config('hub.actor', %s, true)", [str(other.membership)])
        cursor.execute(
            "insert into event (id, team_id, label_id, type, actor_id, row_type, data)"
            " values (%s, %s, %s, 'x', %s, 'x', '{}')",
            [new_id(), other.team, label, other.membership],
        )
    current().set_viewer_context()


def test_announced_is_what_others_can_see(viewer: Viewer, owner_sql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    before = last_seq(viewer)

    def ring(team: int, seq: int) -> None:
        (count,) = owner_sql.execute("select count(*) from event_seq where team_id = %s", [team]).fetchone()
        seen.append((seq, count))

    monkeypatch.setattr(wake, "ring", ring)
    for _ in range(3):
        with viewer_transaction(viewer):
            append(viewer)
            append(viewer)
    assert seen == [(before + more, before + more) for more in (2, 4, 6)]


def test_reading_rings_no_bell(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    make_task(viewer)
    monkeypatch.setattr(wake, "ring", lambda *found: pytest.fail("a reading rang the bell"))
    with viewer_transaction(viewer):
        assert Task.objects.count() == 1


def test_a_label_made_inside_is_visible_at_once(viewer: Viewer) -> None:
    person = make_person(make_team(), "support", Sensitivity.CONFIDENTIAL, ["pii"]).viewer
    with viewer_transaction(person):
        before = current().labels
        label = ensure_label(person, Sensitivity.CONFIDENTIAL, ["pii"])
        assert label.id not in before
        assert label.id in current().labels
        append(person, label.id)
    assert Label.objects.filter(id=label.id).exists()

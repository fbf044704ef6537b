import json
import signal
import subprocess
import sys
import time
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from agents.imports.envelopes import RunSource
from agents.imports.handoffs import NO_QUESTION
from agents.imports.runs import read_run
from agents.imports.steps import NO_REASONING, DecisionStep, EscalationStep, Rules, plan
from escalations.actions import answers, claims
from escalations.models import Escalation
from memoryhub.core.errors import HubError
from memoryhub.core.models import Event, Membership
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer, viewer_of
from memoryhub.memory.models import Decision, Observation, Task
from tests.support.factories import make_person, make_team
from tests.support.runs import BAD, DONE, HANDED, SUMMARY, USER, assistant, call, result
from tests.support.servers import ROOT


@pytest.fixture
def team():
    return make_team("import")


@pytest.fixture
def person(team):
    return make_person(team).viewer


@pytest.fixture
def do_import(team, tmp_path):
    """Imports runs (or lines as they are) into the team; the exit status and what was said on stdout and stderr."""

    def act(*runs, into=team, **options):
        path = tmp_path / "runs.jsonl"
        lines = [run if isinstance(run, bytes) else json.dumps(run).encode() for run in runs]
        path.write_bytes(b"\n".join(lines) + b"\n")
        out, err = StringIO(), StringIO()
        try:
            call_command("import_trajectories", str(path), team=into.slug, stdout=out, stderr=err, **options)
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()
        return 0, out.getvalue(), err.getvalue()

    return act


def importer(team):
    """The importing agent's viewer, who sees its private observations; the system's while there is no such agent."""
    member = Membership.objects.select_related("actor", "team").filter(team=team, name="recorded-agent").first()
    return viewer_of(member) if member else system_viewer(team.id)


def rows(team, model, **filters):
    with viewer_transaction(importer(team)):
        found = list(model.objects.filter(team=team, **filters).select_related("author").order_by("id"))
        return [(row, read_text(row)) for row in found]


def counts(team):
    with viewer_transaction(importer(team)):
        return [model.objects.filter(team=team).count() for model in (Task, Observation, Decision, Escalation)]


def test_a_run_becomes_a_task_with_all_that_was_said_and_done(team, do_import):
    status, _, err = do_import(DONE)
    assert (status, err) == (0, "")
    [(task, text)] = rows(team, Task)
    assert (task.key, task.status, task.holder_id) == ("7-0", "done", None)
    assert text["title"] == "Where is my parcel?"
    assert text["outcome"] == {"reply": "It is on its way.", "reward": 1.0}
    looked_up = {"tool": "get_order", "arguments": {"number": 5}, "result": {"status": "lost"}}
    failed = {"tool": "send_parcel", "arguments": {"number": 5}, "call": "c4", "result": "Error: no stock"}
    assert [(text["content"], row.tags, row.private) for row, text in rows(team, Observation)] == [
        ("Be kind.", ["system"], True),
        ("Where is my parcel?", ["user"], False),
        (looked_up | {"call": "c1"}, ["get_order"], False),
        (looked_up | {"call": "c2"}, ["get_order"], False),  # twice in the run, so twice in the timeline
        ({"thought": "Send another one.", "call": "c3"}, ["think"], True),
        ({"tool": "think", "call": "c3", "result": ""}, ["think"], True),
        (failed, ["send_parcel"], False),
        ("It is on its way.", ["reply"], False),
    ]
    [(_, decision)] = rows(team, Decision)
    assert decision["decision"] == {"tool": "send_parcel", "arguments": {"number": 5}, "call": "c4"}
    assert decision["reasoning"] == "It is lost, so it is sent again."
    assert {row.author.name for row, _ in rows(team, Observation)} == {"recorded-agent"}


def test_the_rows_keep_the_order_of_the_run(team, do_import):
    do_import(DONE)
    with viewer_transaction(importer(team)):
        [decided] = Decision.objects.filter(team=team).values_list("clock__seq", flat=True)
        positions = Observation.objects.filter(team=team).values_list("client_ref", "clock__seq")
        before = {int(ref.split(":")[1].split(".")[0]) for ref, seq in positions if seq < decided}
        after = {int(ref.split(":")[1].split(".")[0]) for ref, seq in positions if seq > decided}
    assert max(before) < 8 < min(after)


def test_a_handoff_becomes_an_escalation_and_the_run_ends_escalated(team, do_import):
    assert do_import(HANDED)[0] == 0
    [(task, _)] = rows(team, Task)
    assert (task.key, task.status, task.holder_id) == ("8-2", "escalated", None)
    [(escalation, text)] = rows(team, Escalation)
    assert (escalation.state, escalation.reason_code) == ("queued", "policy_exception")
    assert escalation.allowed == ["respond", "reject"]
    assert text["reason"] == SUMMARY
    assert text["question"] == "Please decide about an exception."
    with viewer_transaction(importer(team)):
        package = Observation.objects.filter(team=team, clock__seq__lte=Escalation.objects.get(team=team).clock.seq)
        assert [row.tags for row in package] == [["user"]]


def test_importing_again_doubles_nothing(team, do_import):
    do_import(DONE, HANDED)
    before = counts(team)
    with viewer_transaction(importer(team)):
        events = Event.objects.filter(team=team).count()
    status, out, _ = do_import(DONE, HANDED)
    assert status == 0
    assert "2 runs, 2 of them there already; made 0 tasks, 0 observations, 0 decisions, 0 escalations" in out
    assert counts(team) == before == [2, 10, 1, 1]
    with viewer_transaction(importer(team)):
        assert Event.objects.filter(team=team).count() == events


def test_an_answered_escalation_is_left_as_it_is(team, do_import, person):
    do_import(HANDED)
    [(escalation, _)] = rows(team, Escalation)
    claims.claim(person, escalation_id=escalation.id)
    answers.decide(person, escalation_id=escalation.id, verdict="respond", message="Send it again.")
    assert do_import(HANDED)[0] == 0
    [(escalation, _)] = rows(team, Escalation)
    assert escalation.state == "handed_back"
    assert rows(team, Task)[0][0].status == "open"


def test_what_a_person_has_taken_over_is_left_to_them(team, do_import, person):
    run = {**HANDED, "messages": [assistant(call("send_parcel")), *HANDED["messages"]]}
    do_import(run, acting_tools="none")
    [(escalation, _)] = rows(team, Escalation)
    claims.claim(person, escalation_id=escalation.id)
    assert do_import(run, acting_tools="none")[0] == 0
    status, _, err = do_import(run)  # the same run, with a decision in it now
    assert (status, counts(team)) == (1, [1, 3, 0, 1])
    assert "runs.jsonl:1: A person has taken this task over." in err


def test_an_import_that_was_killed_goes_on_where_it_ended(team, do_import, tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text(f"{json.dumps(DONE)}\n{json.dumps(HANDED)}\n")
    command = [sys.executable, "manage.py", "import_trajectories", str(path), "--team", team.slug, "--speed", "4"]
    importing = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while counts(team)[1] < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    importing.send_signal(signal.SIGKILL)
    importing.wait()
    assert rows(team, Task)[0][0].status == "in_progress"
    assert 3 <= counts(team)[1] < 8

    assert do_import(DONE, HANDED)[0] == 0
    assert counts(team) == [2, 10, 1, 1]
    assert [row.status for row, _ in rows(team, Task)] == ["done", "escalated"]


def test_with_speed_messages_arrive_one_by_one(team, do_import):
    begun = time.monotonic()
    assert do_import(DONE, speed=20)[0] == 0
    assert time.monotonic() - begun >= 8 / 20
    with viewer_transaction(importer(team)):
        assert Event.objects.filter(team=team, type="observation.log").count() == 8
    assert counts(team) == [1, 8, 1, 0]


def test_bad_lines_are_told_with_their_place_and_the_good_ones_stored(team, do_import):
    status, out, err = do_import(DONE, b"", *(line for line, _ in BAD), HANDED)
    assert status == 1
    told = err.splitlines()
    assert len(told) == len(BAD)
    for number, ((_, what), line) in enumerate(zip(BAD, told, strict=True), start=3):
        assert f"runs.jsonl:{number}: " in line
        assert what in line
    assert counts(team) == [2, 10, 1, 1]
    assert f"{len(BAD)} run(s) with faults" in out


def test_a_run_that_stands_in_the_file_twice_is_told(team, do_import):
    status, _, err = do_import(DONE, DONE)
    assert status == 1
    assert "runs.jsonl:2: The run 7-0 is already in line 1." in err


def test_a_task_of_another_file_is_not_mixed_with_it(team, do_import):
    do_import(DONE)
    other = {**DONE, "messages": [{"role": "user", "content": "Something else"}]}
    status, _, err = do_import(other)
    assert status == 1
    assert "holds something else" in err
    assert counts(team) == [1, 8, 1, 0]
    assert do_import(other, prefix="second-")[0] == 0
    assert {row.key for row, _ in rows(team, Task)} == {"7-0", "second-7-0"}


def test_the_tools_that_act_and_hand_over_can_be_named(team, do_import):
    run = {**HANDED, "messages": [USER, assistant(call("get_order")), assistant(call("call_a_person", why="Lost."))]}
    assert do_import(run, acting_tools="get_*,other", handoff_tool="call_a_person")[0] == 0
    assert counts(team) == [1, 2, 1, 1]  # the handoff has no result, so its arguments are a row of their own
    assert rows(team, Escalation)[0][1]["reason"] == "Lost."


def test_the_command_says_what_is_wrong_with_its_arguments(team, tmp_path):
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_trajectories", str(tmp_path / "none"), team=team.slug)
    (tmp_path / "empty").touch()
    with pytest.raises(CommandError, match="There is no team nobody"):
        call_command("import_trajectories", str(tmp_path / "empty"), team="nobody")
    with pytest.raises(CommandError, match="messages per second"):
        call_command("import_trajectories", str(tmp_path / "empty"), "--team", team.slug, "--speed", "5000")


def steps(*messages, rules=None, **line):
    run = read_run(RunSource(json.dumps({"task_id": "t", "messages": list(messages), **line}).encode()))
    return list(plan(run, rules or Rules()))


def test_calls_of_the_old_form_are_read():
    asked = {"role": "assistant", "content": None, "function_call": {"name": "book", "arguments": '{"seat": 1}'}}
    decided, seen = steps(asked, {"role": "function", "name": "book", "content": '["ok"]'})
    assert decided == DecisionStep("t:0.0", {"tool": "book", "arguments": {"seat": 1}}, NO_REASONING)
    assert seen.content == {"tool": "book", "arguments": {"seat": 1}, "result": ["ok"]}


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "{", '[1], "b": [2]', '{"n": 1e400}', "5", "[\u2028"])
def test_a_result_that_is_no_sound_json_stays_text(text):
    [step] = steps(result(text))
    assert step.content["result"] == text


@pytest.mark.parametrize(
    ("summary", "code", "question"),
    [
        ("The booking tool gives an error. Please book by hand.", "tool_failure", "Please book by hand."),
        ("Not eligible under the policy.", "policy_exception", NO_QUESTION),
        ("She wants a supervisor.", "customer_request", NO_QUESTION),
        ("Hello.", "other", NO_QUESTION),
    ],
)
def test_the_reason_and_question_come_from_the_summary(summary, code, question):
    *_, step = steps(assistant(call("transfer_to_human_agents", summary=summary)))
    assert step == EscalationStep("t:0.0", code, summary, question)


@pytest.mark.parametrize("arguments", ["", "{}", '{"summary": ""}', '{"summary": 5}', "[]", "  "])
def test_a_handoff_without_a_summary_is_one_all_the_same(arguments):
    handed = {"id": "c", "function": {"name": "transfer_to_human_agents", "arguments": arguments}}
    *_, step = steps({"role": "assistant", "content": None, "tool_calls": [handed]})
    assert step.reason.startswith("The recorded run handed over")


def test_a_run_without_task_id_has_a_key_of_its_own():
    run = RunSource(json.dumps({"messages": [USER]}).encode())
    assert read_run(run).key == read_run(run).key
    assert read_run(run).key.startswith("run-")


@pytest.mark.parametrize("name", ["", "a b", "x" * 201, "a\nb"])
def test_a_tool_with_an_impossible_name_is_refused(name):
    with pytest.raises(HubError):
        steps(assistant(call(name)))

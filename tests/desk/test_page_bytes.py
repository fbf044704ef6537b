"""A page of the desk has at most 8 MiB, whatever agents have written: what finds no room is opened by a click."""

import json
import re
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from escalations.selectors.escalations import answer_of
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.interface.http.json import dump
from memoryhub.memory.models import Task
from tests.support.api import Api, make_api
from tests.support.desk_world import act, browser_of
from tests.support.factories import make_person, make_team

MIB = 1024 * 1024
# Each character that cannot be seen is shown as some seventy, and many of one kind in a row as one.
ODD = {"content": {f"m{number}": "\u200bx" * 1000 for number in range(5)}, "task": "t", "tags": ["y" * 100] * 5}
RUN, PAIRS = "\x7f" * 255_000, "\x7fx" * 127_000
LONG = "n" * 100_000


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def api(team: Team) -> Api:
    return make_api(team)


@pytest.fixture
def browser(team: Team) -> Client:
    return browser_of(make_person(team))


def make(api: Api, path: str, body: Any) -> str:
    """The id of what was made of this body, in which a DEL is one byte, as JSON allows."""
    made: str = api.make(path, dump(body))["id"]
    return made


def escalate(api: Api, task: str = "t", metadata: Any = None, **asked: Any) -> str:
    make(api, "tasks", {"key": task, "title": "T", "metadata": metadata or {}})
    return make(api, "escalations", {"task": task, "reason_code": "other", "reason": "r", **asked})


def log(api: Api, many: int) -> list[str]:
    return [row["id"] for row in api.make("observations/batch", {"items": [ODD] * many})["results"]]


def page(browser: Client, path: str) -> str:
    answer = browser.get(f"/escalations/{path}")
    assert answer.status_code == 200
    assert len(answer.content) <= 8 * MIB, path
    return answer.text


def asking(arguments: Any, **more: Any) -> dict[str, Any]:
    return {"question": "q", "allowed": ["edit"], "action": {"name": "refund", "arguments": arguments, **more}}


def test_a_case_whose_text_grows_when_it_is_shown(api: Api, browser: Client):
    api.make("tasks", {"key": "t", "title": "T"})
    before = log(api, 50)
    case = api.make("escalations", {"task": "t", "reason_code": "other", "reason": "r", "question": "q"})["id"]
    since = log(api, 45)
    shown = page(browser, f"{case}/")
    assert len(shown) > 3 * MIB
    # The newest 50 of each part, and none is missing.
    assert all(f'data-item="{row}"' in shown for row in since)
    assert sum(f'data-item="{row}"' in shown for row in before) >= 48
    assert "U+200B" in shown
    assert shown.count("Open to read") > 70
    assert len(page(browser, f"{case}/timeline/?part=before")) <= 4 * MIB
    assert page(browser, f"{case}/items/{before[0]}/").count("U+200B") == 5_000


def test_a_case_all_of_whose_parts_grow(api: Api, browser: Client):
    words = "x\u202e" * 10_000
    asked = asking({f"a{number}": "x\x7f" * 1_000 for number in range(60)})
    case = escalate(api, metadata={"m": PAIRS, PAIRS[:2000]: "x"}, **{**asked, "question": words, "reason": words})
    log(api, 45)
    act(browser, case, "claim")
    for path in ("", "panel/", "arguments/?start=1", "arguments/?inputs=true&start=1"):
        shown = page(browser, f"{case}/{path}")
        assert re.search("Show [0-9]+ more", shown), path
    assert shown.count('name="arguments/') > 10
    assert page(browser, f"{case}/").count("U+202E") >= 20_000


@pytest.mark.parametrize("content", [{"a": RUN}, {"a": PAIRS}, {"a": "\x7f\x80" * 85_000}, {PAIRS: 1}])
def test_what_is_opened_alone(api: Api, browser: Client, content: dict[str, Any]):
    case = escalate(api, metadata=content, question="q")
    item = make(api, "observations", {"content": content, "task": "t"})
    page(browser, f"{case}/")
    for path in (f"items/{item}/", "task-data/"):
        assert ("U+007F ×255,000" in page(browser, f"{case}/{path}")) == (content == {"a": RUN})


def test_what_is_cut_even_alone_says_how_much_follows(api: Api, browser: Client):
    case = escalate(api, metadata={"a": PAIRS}, question="q")
    shown = page(browser, f"{case}/task-data/")
    rest = re.search("… ([0-9]+) more characters", shown)
    assert rest
    assert shown.count("U+007F") * 2 + int(rest[1]) in (len(PAIRS), len(PAIRS) + 1)


def test_arguments_with_long_names(api: Api, browser: Client):
    many = {f"a{number}": 1 for number in range(4_000)}
    case = escalate(api, **asking({LONG: many, f"{LONG}!": {"order": "o"}, "a": 1}))
    act(browser, case, "claim")
    for path in ("", "arguments/?start=60", "arguments/?inputs=true&start=60"):
        assert page(browser, f"{case}/{path}").count("n" * 200 + "…") >= 60
    for number, name in ((7, f"{LONG} › a7"), (4_000, f"{LONG}! › order")):
        assert name in page(browser, f"{case}/arguments/?whole={number}")
        opened = page(browser, f"{case}/arguments/?inputs=true&whole={number}")
        assert name in opened
        assert f'name="arguments/~n{number}"' in opened
    # An input has a name of its own, by which it alone is changed.
    typed = {"verdict": "edit", "arguments/~n7": "2", "arguments/~n4000": "p", "arguments/a": "3"}
    assert act(browser, case, "decide", typed).status_code == 200
    viewer = api.agent.viewer
    with viewer_transaction(viewer, read_only=True):
        changed = json.loads(dump(answer_of(viewer, UUID(case))))["action"]["arguments"]
    assert changed == {LONG: {**many, "a7": 2}, f"{LONG}!": {"order": "p"}, "a": 3}


@pytest.mark.parametrize("name", [RUN[:120_000], PAIRS[:120_000]])
def test_arguments_whose_names_grow(api: Api, browser: Client, name: str):
    case = escalate(api, **asking({name: {f"a{number}": "\x7f" * 1_000 for number in range(100)}}))
    act(browser, case, "claim")
    for path in ("", "arguments/?start=1", "arguments/?whole=1", "arguments/?inputs=true&whole=1"):
        assert "U+007F" in page(browser, f"{case}/{path}")


def test_choices_and_help_of_a_schema_that_grow(api: Api, browser: Client):
    choices = {"enum": [f"{number}{'<' * 500}" for number in range(100)]}
    helps = {f"b{number}": {"description": "\x7fx" * 10} for number in range(300)}
    case = escalate(api, **asking({"a": choices["enum"][0]}, schema={"properties": {"a": choices, **helps}}))
    act(browser, case, "claim")
    assert "Open to change" in page(browser, f"{case}/")
    assert page(browser, f"{case}/arguments/?inputs=true&whole=0").count("<option") == 100
    page(browser, f"{case}/arguments/?inputs=true&start=1")


def test_the_queue_at_its_longest(api: Api, browser: Client):
    sizes = [len(browser.get("/?show=1000").content)]
    for number, question in enumerate(("x" + "\u200b\u200e" * 9_000, "'\u200b" * 9_000)):
        escalate(api, f"{number}-{'k' * 198}", question=question)
        sizes.append(len(browser.get("/?show=1000").content))
    rows = [after - before for before, after in pairwise(sizes)]
    assert sizes[0] + 1_000 * max(rows) <= 8 * MIB


def test_a_run_of_what_cannot_be_seen_hides_no_question(api: Api, browser: Client):
    case = escalate(api, question="\u200b" * 5_000 + "May I?")
    assert re.search(r"<h1 [^>]*><bdi><span [^>]*>U\+200B ×5,000</span>May I\?</bdi></h1>", page(browser, f"{case}/"))


def test_a_row_on_its_admin_page(api: Api, team: Team):
    inside: list[Any] = [1] * 125_000
    for _ in range(28):
        inside = [inside]
    make(api, "tasks", {"key": "t", "title": "T", "metadata": {"a": inside}})
    admin = browser_of(make_person(team, "admin", is_staff=True))
    with viewer_transaction(api.agent.viewer, read_only=True):
        row = Task.objects.get(key="t").id
    answer = admin.get(f"/admin/memory/task/{row}/change/")
    assert answer.status_code == 200
    assert MIB // 2 < len(answer.content) <= 8 * MIB
    assert re.search("… [0-9]+ more characters", answer.text)

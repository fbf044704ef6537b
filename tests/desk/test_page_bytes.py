"""A page of the desk has at most 8 MiB, whatever agents have written: what finds no room is opened by a click."""

from tests.api.client import Api, make_api
from tests.desk.desks import browser_of
from tests.factories import make_person, make_team

MIB = 1024 * 1024
# Each character that cannot be seen is shown as some seventy.
ODD = {"content": {f"m{number}": "\u200b" * 2000 + "x" for number in range(5)}, "task": "t", "tags": ["y" * 100] * 5}


def log(api: Api, many: int) -> list[str]:
    return [row["id"] for row in api.make("observations/batch", {"items": [ODD] * many})["results"]]


def test_a_case_whose_text_grows_when_it_is_shown():
    team = make_team()
    api = make_api(team)
    api.make("tasks", {"key": "t", "title": "T"})
    before = log(api, 50)
    body = {"task": "t", "reason_code": "other", "reason": "r", "question": "q"}
    case = api.make("escalations", body)["id"]
    since = log(api, 45)
    browser = browser_of(make_person(team))
    page = browser.get(f"/escalations/{case}/").content
    assert 3 * MIB < len(page) <= 8 * MIB
    shown = page.decode()
    # The newest 50 of each part, and none is missing.
    assert all(f'data-item="{row}"' in shown for row in since)
    assert sum(f'data-item="{row}"' in shown for row in before) >= 48
    assert "U+200B" in shown
    assert shown.count("Open to read") > 80
    following = browser.get(f"/escalations/{case}/timeline/?part=before").content
    assert len(following) <= 4 * MIB
    whole = browser.get(f"/escalations/{case}/items/{before[0]}/").content
    assert whole.count(b"U+200B") == 10_000
    assert len(whole) <= 8 * MIB

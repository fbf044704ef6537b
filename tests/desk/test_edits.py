"""What an agent proposed, as a person approves or changes it: the agent gets back what it sent, byte by byte."""

import httpx2
import pytest
from django.test import Client

from tests.support.desk_world import HTML, Desk, act, browser_of
from tests.support.factories import make_agent, make_person
from tests.support.web import Server

ARGUMENTS = (
    '{"z": 2.0, "a": 2, "e": 1e2, "sum": 0.30000000000000004, "long": 0.1000000000000000055511151231257827,'
    ' "flag": true, "one": 1, "text": "1", "none": null, "null": "null", "empty": "", "cr": "a\\r\\nb", "lf": "a\\nb",'
    ' "bidi": "x\u202ey", "escaped": "\\u00e9", "sp": " a ", "list": ["a, b"], "in": {"b": 1.0, "a": []}, "amount": 80}'
)


def ask(server: Server, desk: Desk, label: str, allowed: str = '["approve", "edit"]') -> tuple[httpx2.Client, str]:
    """An agent's client, and the escalation that it made with exactly these bytes."""
    agent = make_agent(desk.team, 2)
    client = httpx2.Client(base_url=f"{server.url}/api/v1/", headers=agent.headers, timeout=30)
    client.post("tasks", json={"key": f"exact-{label}", "title": "Exact", "sensitivity": label}).raise_for_status()
    body = (
        f'{{"task": "exact-{label}", "reason_code": "other", "reason": "Why.", "question": "May I?",'
        f' "allowed": {allowed}, "action": {{"schema": null, "arguments": {ARGUMENTS}, "name": "refund"}}}}'
    )
    headers = {"Content-Type": "application/json"}
    made = client.post("escalations", content=body.encode(), headers=headers)
    assert made.status_code == 201, made.text
    assert f'"arguments":{ARGUMENTS}' in made.text
    return client, made.json()["id"]


@pytest.mark.parametrize("label", ["internal", "confidential"])
def test_what_is_approved_has_the_bytes_that_were_sent(server: Server, desk: Desk, label: str):
    client, made = ask(server, desk, label)
    browser = browser_of(make_person(desk.team, clearance=2))
    act(browser, made, "claim")
    assert act(browser, made, "decide", {"verdict": "approve"}).status_code == 200
    assert f'"arguments":{ARGUMENTS}' in client.get(f"escalations/{made}/answer").text
    assert f'"arguments":{ARGUMENTS}' in client.get(f"escalations/{made}").text


@pytest.mark.parametrize("label", ["internal", "confidential"])
@pytest.mark.parametrize("untouched", ["sent", "left out"])
def test_an_edit_changes_only_what_was_changed(server: Server, desk: Desk, label: str, untouched: str):
    client, made = ask(server, desk, label)
    browser = browser_of(make_person(desk.team, clearance=2))
    act(browser, made, "claim")
    form = inputs(browser, made) if untouched == "sent" else {}
    assert act(browser, made, "decide", {"verdict": "edit", **form, "arguments/amount": "60"}).status_code == 200
    got = client.get(f"escalations/{made}/answer").text
    for piece in (
        "2.0",
        "1e2",
        "0.1000000000000000055511151231257827",
        "0.30000000000000004",
        '"a\\r\\nb"',
        "x\u202ey",
    ):
        assert piece in got, piece
    for piece in (
        '"null":"null"',
        '"none":null',
        '"text":"1"',
        '"one":1',
        '"empty":""',
        '["a, b"]',
        '{"b": 1.0, "a": []}',
    ):
        assert piece in got, piece
    assert '"escaped":"\\u00e9"' in got
    assert '"amount":60' in got
    names = [
        part.split('":')[0].split('"')[-1] for part in got.partition('"arguments":{')[2].split(",") if '":' in part
    ]
    assert names[:4] == ["z", "a", "e", "sum"]


def test_json_arguments_of_a_person_are_kept_as_they_came(server: Server, desk: Desk, sam: Client):
    client, made = ask(server, desk, "internal")
    act(sam, made, "claim")
    body = b'{"verdict": "edit", "arguments": {"b": 2.0, "a": 1e2, "c": "\\u00e9"}}'
    assert act(sam, made, "decide", body).status_code == 200
    assert '"arguments":{"b": 2.0, "a": 1e2, "c": "\\u00e9"}' in client.get(f"escalations/{made}/answer").text


def test_an_argument_that_the_action_has_not_is_refused(server: Server, desk: Desk, sam: Client):
    _, made = ask(server, desk, "internal")
    act(sam, made, "claim")
    refused = act(sam, made, "decide", {"verdict": "edit", "arguments/other": "1"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/arguments/other")


def test_the_rest_of_many_arguments_is_loaded_on_request(desk: Desk, sam: Client):
    many = {"name": "refund", "arguments": {f"a{number}": number for number in range(10_000)} | {"big": "x" * 100_000}}
    made = desk.escalate(allowed=["approve", "edit"], action=many)
    page = sam.get(f"/escalations/{made.id}/", headers=HTML).text
    assert ("a59<" in page, "a60<" in page) == (True, False)
    assert len(page) < 150_000
    assert "Show 9941 more" in page
    more = sam.get(f"/escalations/{made.id}/arguments/?start=60", headers=HTML).text
    assert ("a60<" in more, "a559<" in more, "a560<" in more) == (True, True, False)
    inputs = sam.get(f"/escalations/{made.id}/arguments/?inputs=true&start=9900", headers=HTML).text
    assert ('name="arguments/a9999" value="9999"' in inputs, "100000 characters" in inputs) == (True, True)
    whole = sam.get(f"/escalations/{made.id}/arguments/?whole=10000", headers=HTML).text
    assert "x" * 100_000 in whole
    act(sam, made, "claim")
    assert act(sam, made, "decide", {"verdict": "edit", "arguments/a9999": "7"}).status_code == 200
    assert "a9999" not in sam.get(f"/escalations/{made.id}/", headers=HTML).text
    following = sam.get(f"/escalations/{made.id}/arguments/?of=answer&start=9900", headers=HTML).text
    assert "<dt>a9999</dt><dd><bdi>7</bdi></dd>" in following


def inputs(browser: Client, made: str) -> dict[str, str]:
    """What a browser sends of the edit form as it stands."""
    import html
    import re

    page = browser.get(f"/escalations/{made}/", headers=HTML).text
    form = page[page.index('id="form-edit"') :]
    form = form[: form.index("</form>")]
    found = dict(re.findall(r'<input class="form-control" type="text" id="\S+" name="([^"]+)" value="([^"]*)"', form))
    found |= dict(re.findall(r'<textarea [^>]*name="(arguments/[^"]+)"[^>]*>\n([^<]*)</textarea>', form))
    for name, options in re.findall(r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', form):
        found[name] = re.findall(r'value="([^"]*)" selected', options)[0]
    assert len(found) == 20
    return {html.unescape(name): html.unescape(text).replace("\n", "\r\n") for name, text in found.items()}

"""Who may come in, and by which door."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.actions import keys
from agents.keys import make_key
from agents.models import ApiKey
from escalations.desk import urls as desk
from memoryhub.core.actions import memberships
from memoryhub.core.models import Membership, Team
from memoryhub.core.viewers import system_viewer
from tests.support.api import Api, make_api
from tests.support.factories import make_person, make_team
from tests.support.signing_in import BACKEND

GET_ME = "me"
UNAUTHORIZED = (401, "unauthorized")


def own_key(api: Api) -> ApiKey:
    assert api.agent is not None
    return ApiKey.objects.get(id=api.agent.key_id)


def test_every_refusal_is_the_same(team: Team, api: Api, owner_sql) -> None:
    assert api.key
    expired, revoked, idle, gone = (make_api(team) for _ in range(4))
    owner_sql.execute("update api_key set expires_at = now() where id = %s", [own_key(expired).id])
    keys.revoke(system_viewer(team.id), key=own_key(revoked))
    assert idle.agent is not None
    assert gone.agent is not None
    member = Membership.objects.select_related("actor", "team").get(id=idle.agent.membership.id)
    memberships.change(
        system_viewer(team.id), member=member, role="agent", clearance=1, compartments=[], is_active=False
    )
    owner_sql.execute("update actor set is_active = false where id = %s", [gone.agent.membership.actor_id])
    wrong_checksum = api.key[:-1] + ("a" if api.key[-1] != "a" else "b")
    refused = [
        *(who.get(GET_ME) for who in (expired, revoked, idle, gone)),
        *(
            Api(key).get(GET_ME)
            for key in (None, "", "x", wrong_checksum, make_key()[0], api.key + "0", api.key.upper())
        ),
        *(
            Api(None).get(GET_ME, headers={"Authorization": header})
            for header in (
                api.key,
                f"Basic {api.key}",
                "Bearer",
                "Bearer ",
                f"Bearer  {api.key}",
                f"Bearer {api.key} x",
            )
        ),
    ]
    assert [reply.refusal for reply in refused] == [UNAUTHORIZED] * len(refused)
    assert len({reply.data["detail"] for reply in refused}) == 1
    assert all(reply.headers["WWW-Authenticate"].startswith("Bearer") for reply in refused)
    assert api.get(GET_ME).status == 200
    assert Api(None).get(GET_ME, headers={"Authorization": f"bearer {api.key}"}).status == 200


def test_a_wrong_checksum_is_refused_before_the_database_is_asked(api: Api) -> None:
    assert api.key
    with CaptureQueriesContext(connection) as queries:
        assert Api(api.key[:-1] + ("a" if api.key[-1] != "a" else "b")).get(GET_ME).status == 401
    assert len(queries) == 0


def test_two_authorization_headers_are_refused(team: Team, api: Api) -> None:
    """As a WSGI server hands them on: joined by a comma."""
    other = make_api(team)
    joined = f"Bearer {api.key},Bearer {other.key}"
    assert Api(None).get(GET_ME, headers={"Authorization": joined}).refusal == UNAUTHORIZED


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "token", "authorization"])
def test_a_key_in_the_query_is_no_key(api: Api, name: str) -> None:
    assert Api(None).get(f"{GET_ME}?{name}={api.key}").refusal == UNAUTHORIZED
    assert api.get(f"{GET_ME}?{name}={api.key}").refusal == (400, "invalid")


def test_a_key_opens_one_team_only(team: Team, api: Api) -> None:
    stranger = make_api(make_team())
    api.make("tasks", {"key": "t", "title": "T"})
    row = api.make("escalations", {"task": "t", "reason_code": "other", "reason": "r", "question": "q"})["id"]
    assert stranger.get("tasks/t").refusal == (404, "not_found")
    assert stranger.get(f"escalations/{row}").refusal == (404, "not_found")
    assert stranger.results("tasks") == stranger.results("escalations") == []
    for field in ("team", "author", "owner"):
        assert stranger.post("observations", {"content": "x", field: team.slug}).refusal == (400, "invalid")


SCOPED = {
    "memory:read": [
        *(("GET", path) for path in ("agents", "observations", "decisions", "facts", "facts/k", "facts/k/history")),
        ("POST", "facts/read"),
    ],
    "memory:write": [
        *(("POST", path) for path in ("observations", "observations/batch", "decisions")),
        *((method, "facts/k") for method in ("PUT", "DELETE")),
    ],
    "tasks": [
        ("GET", "tasks"),
        ("GET", "tasks/t"),
        ("POST", "tasks"),
        ("PATCH", "tasks/t"),
        ("POST", "tasks/claim-next"),
        *(("POST", f"tasks/t/{verb}") for verb in ("claim", "renew", "release", "complete", "fail", "reopen")),
    ],
    "escalations": [
        ("GET", "escalations"),
        ("GET", "escalations/{row}"),
        ("GET", "escalations/{row}/package"),
        ("POST", "escalations"),
        ("POST", "escalations/{row}/acknowledge"),
        ("POST", "escalations/{row}/cancel"),
    ],
}
BODIES = {
    "observations": {"content": "x"},
    "batch": {"items": [{"content": "x"}]},
    "decisions": {"task": "t", "decision": "x", "reasoning": "y"},
    "tasks": {"key": "u", "title": "U"},
    "reopen": {"reason": "x"},
    "cancel": {"reason": "x"},
    "escalations": {"task": "t", "reason_code": "other", "reason": "r", "question": "q"},
    **{verb: {"token": 1} for verb in ("renew", "release", "complete", "fail")},
    "read": {"keys": ["k"]},
    "k": {"value": 1},
}


@pytest.mark.parametrize("scope", SCOPED)
def test_a_key_without_the_scope_is_refused(team: Team, api: Api, scope: str) -> None:
    etag = api.post("tasks", {"key": "t", "title": "T"}).headers["ETag"]
    row = api.make("escalations", BODIES["escalations"])["id"]
    without = make_api(team, scopes=[*(other for other in SCOPED if other != scope)])
    for method, path in SCOPED[scope]:
        body = (
            BODIES.get(path.rpartition("/")[2], {}) if method in ("POST", "PUT") else {} if method == "PATCH" else None
        )
        headers = {"If-Match": etag} if method in ("PATCH", "PUT", "DELETE") else {}
        reply = without.send(method, path.format(row=row), body, headers=headers)
        assert reply.refusal == (403, "forbidden"), (method, path, reply)
        assert scope in reply.data["detail"]


def test_a_session_opens_no_api(team: Team) -> None:
    person = make_person(team)
    api = Api(None)
    api._client.force_login(person.actor, backend=BACKEND)
    assert api.get("tasks").refusal == UNAUTHORIZED


def people_routes() -> list[str]:
    """The desk's addresses that are for people only."""
    routes = [str(pattern.pattern) for pattern in desk.urlpatterns]
    return [
        f"/{re.sub('<uuid:[a-z_]+>', '{row}', route)}" for route in routes if not route.startswith(("login", "logout"))
    ]


@pytest.mark.parametrize("route", people_routes())
def test_an_agents_key_is_refused_at_peoples_routes(api: Api, route: str) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    row = api.make("escalations", BODIES["escalations"])["id"]
    path = route.format(row=row)
    for method in ("GET", "POST"):
        reply = api.send(
            method, path, {"verdict": "respond", "message": "x", "text": "x"} if method == "POST" else None
        )
        assert reply.refusal == (403, "forbidden"), (method, path)
    assert api.get(f"escalations/{row}").data["state"] == "queued"

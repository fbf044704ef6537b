"""Who may open the desk's socket, and what it is told first."""

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from memoryhub.core.models import Role, Sensitivity
from tests.support.desk_socket import close_code, open_socket
from tests.support.factories import make_person, make_team
from tests.support.signing_in import sign_in
from tests.support.web import Server


def refused(*args, **options) -> int:
    with pytest.raises(InvalidStatus) as caught:
        open_socket(*args, **options).close()
    return caught.value.response.status_code


def test_only_a_member_of_the_team_from_our_own_page_may_open_it(server: Server):
    team, other = make_team(), make_team()
    session = sign_in(make_person(team))
    port = server.url.rsplit(":", 1)[1]
    assert refused(server.url, team.slug, None) == 403
    assert refused(server.url, team.slug, "no-such-session") == 403
    assert refused(server.url, other.slug, session) == 403
    assert refused(server.url, "no-such-team", session) == 403
    assert refused(server.url, "system", session) == 403
    for origin in (
        "http://evil.example",
        "null",
        f"https://127.0.0.1:{port}",
        "http://127.0.0.1:1",
        f"http://localhost:{port}",
    ):
        assert refused(server.url, team.slug, session, origin=origin) == 403
    assert refused(server.url, team.slug, session, origin="") == 403
    with open_socket(server.url, team.slug, session) as socket:
        socket.send('{"after": 0}')
        assert '"ready"' in socket.recv(timeout=10)


def test_a_second_origin_is_refused(server: Server):
    team = make_team()
    session = sign_in(make_person(team))
    assert refused(server.url, team.slug, session, more={"Origin": "http://evil.example"}) in (400, 403)


def test_a_team_of_the_past_and_an_inactive_person_are_refused(server: Server):
    team = make_team()
    person = make_person(team, Role.READER, Sensitivity.PUBLIC)
    session = sign_in(person)
    person.membership.is_active = False
    person.membership.save(update_fields=["is_active"])
    assert refused(server.url, team.slug, session) == 403


@pytest.mark.parametrize(
    "path", ["ws", "ws/t//queue/", "ws/t/x/queue", "ws/t/x/other/", "ws/t/x%20y/queue/", "ws/t/x/queue/%0A"]
)
def test_an_unknown_address_is_refused(server: Server, path: str):
    team = make_team()
    assert refused(server.url, team.slug, sign_in(make_person(team)), path=path) == 403


@pytest.mark.parametrize(
    "message",
    [
        "", "{", "[]", "null", '"x"', "{}", b'{"after": 0}', '{"after": -1}', '{"after": "1"}', '{"after": 1.5}',
        '{"after": true}', '{"after": null}', '{"after": NaN}', '{"after": 9007199254740993}',
        '{"after": 1, "after": 2}', '{"after": 0, "team": 1}',
        '{"after": 0, "type": "x"}', '{"after": 0, "task": "x"}', '{"after": 0, "task": 7}',
        '{"after": 0, "task": "\\u0000"}', '{"after": 0, "task": "' + "x" * 2_000_000 + '"}',
        '{"after": 0, "view": 1}', '{"after": 0, "view": "status=x"}', '{"after": 0, "view": "q=a&q=b"}',
        '{"after": 0, "view": "kind=note"}', '{"after": 0, "view": "q=%ff"}', '{"after": 0, "view": "\\ud800"}',
        '{"after": 0, "view": "' + "q" * 8_193 + '"}',
        '{"after": ' + "[" * 10_000 + "]" * 10_000 + "}",
    ],
)  # fmt: skip
def test_a_bad_hello_ends_the_socket(server: Server, message: str | bytes):
    team = make_team()
    with open_socket(server.url, team.slug, sign_in(make_person(team))) as socket:
        socket.send(message)
        assert close_code(socket) in (4400, 1009)


def test_a_second_message_ends_the_socket(server: Server):
    team = make_team()
    with open_socket(server.url, team.slug, sign_in(make_person(team))) as socket:
        for _ in range(1000):
            try:
                socket.send('{"after": 0}')
            except ConnectionClosed:
                break
        assert close_code(socket) == 4400


def test_silence_ends_the_socket(server: Server):
    team = make_team()
    with open_socket(server.url, team.slug, sign_in(make_person(team))) as socket:
        assert close_code(socket, seconds=15) == 4410

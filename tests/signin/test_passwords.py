"""One's own password, first passwords, and what is recorded of signing in and out."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError
from django.test import Client
from websockets.exceptions import InvalidStatus

from memoryhub.core.actions import people
from memoryhub.core.models import SYSTEM_TEAM, Actor, Membership, PasswordOrigin, SignInRecord, Team
from memoryhub.interface.pages import demo
from tests.support.admin_pages import address, events, signed_in, system, text
from tests.support.clients import new_client
from tests.support.commands import run
from tests.support.desk_socket import close_code, open_socket
from tests.support.desk_world import HTML, JSON
from tests.support.factories import PASSWORD, Person, installation, join, make_person, make_team, unique
from tests.support.servers import ROOT
from tests.support.signing_in import client_of, sign_in
from tests.support.web import Server

PAGE = "/account/password/"
NEW = "a new and longer passphrase"


def person_with_first_password(**more: Any) -> Actor:
    """As an administrator of the installation makes one, in a team."""
    actor = people.add(installation(), username=unique("new"), password=PASSWORD, **more)
    join(make_team(), actor)
    return actor


def browser(actor: Actor, **headers: str) -> Client:
    return client_of(actor, headers=headers or HTML)


def change(client: Client, old: str = PASSWORD, new: str = NEW, again: str | None = None, **headers: str) -> Any:
    sent = {"old_password": old, "new_password1": new, "new_password2": new if again is None else again}
    return client.post(PAGE, sent, headers={**HTML, **headers})


def ledger_of_installation() -> list[tuple[str, Any]]:
    return events(system())


def test_a_person_changes_their_own_password_keeps_this_session_and_ends_the_others() -> None:
    person = make_person(make_team())
    here, elsewhere = browser(person.actor), browser(person.actor)
    assert f'href="{PAGE}"' in here.get("/").text
    assert 'name="old_password"' in here.get(PAGE).text
    answer = change(here)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    page = here.get("/")
    assert page.status_code == 200
    assert "Your password is changed" in page.text
    assert elsewhere.get("/").status_code == 302
    assert Actor.objects.get(id=person.actor.id).check_password(NEW)
    assert ledger_of_installation()[-1] == ("person.change_own_password", person.actor.id)


@pytest.mark.parametrize(
    ("old", "new", "again", "words"),
    [
        ("wrong", NEW, NEW, "not your present password"),
        (PASSWORD, "short", "short", "too short"),
        (PASSWORD, "password1234", "password1234", "too common"),
        (PASSWORD, NEW, NEW + "!", "differ"),
        (PASSWORD, PASSWORD, PASSWORD, "another password than the present one"),
        (PASSWORD, "", "", "required"),
        (PASSWORD, "a\0" + NEW, "a\0" + NEW, "Null characters"),
        ("", NEW, NEW, "required"),
    ],
)
def test_what_is_no_good_is_told_and_changes_nothing(old: str, new: str, again: str, words: str) -> None:
    person = make_person(make_team())
    client, before = browser(person.actor), Actor.objects.get(id=person.actor.id).password
    answer = change(client, old, new, again)
    assert answer.status_code == 200
    assert words in text(answer)
    assert change(client, old, new, again, **JSON).status_code == 400
    assert Actor.objects.get(id=person.actor.id).password == before
    assert client.get("/").status_code == 200


@pytest.mark.usefixtures("quick_hashes")
def test_a_stolen_session_cannot_guess_the_present_password(owner_sql: psycopg.Connection[Any]) -> None:
    client = browser(make_person(make_team()).actor)
    answers = [change(client, "wrong").status_code for _ in range(4)]
    owner_sql.execute("update signin_delay set free_at = free_at + interval '20 s'")
    answers.append(change(client).status_code)
    assert answers == [200, 200, 200, 200, 429]


def test_nobody_and_no_key_gets_to_the_page() -> None:
    assert new_client(headers=HTML).get(PAGE)["Location"] == f"/login/?next={PAGE}"
    assert new_client(headers=JSON).post(PAGE).status_code == 401
    assert new_client().get(PAGE, headers={"Authorization": "Bearer x"}).status_code == 403


def test_the_page_is_there_for_a_person_without_a_team() -> None:
    person = make_person(make_team())
    Membership.objects.filter(id=person.membership.id).update(is_active=False)
    client = browser(person.actor)
    assert client.get(PAGE).status_code == 200
    assert change(client).status_code == 302


def by_an_administrator() -> Actor:
    installer = make_person(Team.objects.get(slug=SYSTEM_TEAM), "admin", is_staff=True, is_superuser=True)
    form = {"username": unique("new"), "email": "", "password1": PASSWORD, "password2": PASSWORD}
    assert signed_in(installer).post(address("core_actor", "add"), form).status_code == 302
    actor = Actor.objects.get(username=form["username"])
    join(make_team(), actor)
    return actor


def reset_by_an_administrator() -> Actor:
    person = make_person(make_team())
    people.set_password(installation(), person=person.actor, password=PASSWORD)
    return person.actor


def by_command() -> Actor:
    name = unique("new")
    out, _ = run("add_person", name, team=make_team().slug)
    actor = Actor.objects.get(username=name)
    actor.password = make_person(make_team()).actor.password  # of PASSWORD, made once
    actor.save(update_fields=["password"])
    assert out.strip()
    return actor


def by_command_from_a_file() -> Actor:
    name = unique("new")
    with NamedTemporaryFile("w") as file:
        file.write(PASSWORD + "\n")
        file.flush()
        run("add_person", name, team=make_team().slug, password_file=file.name)
    return Actor.objects.get(username=name)


def reset_by_command() -> Actor:
    person = make_person(make_team())
    with NamedTemporaryFile("w") as file:
        file.write(PASSWORD + "\n")
        file.flush()
        run("set_password", person.username, password_file=file.name)
    return Actor.objects.get(id=person.actor.id)


FIRST = [by_an_administrator, reset_by_an_administrator, by_command, by_command_from_a_file, reset_by_command]


@pytest.mark.parametrize("make", FIRST)
def test_a_first_password_opens_nothing_but_the_page_that_changes_it(make: Callable[[], Actor]) -> None:
    actor = make()
    client = browser(actor)
    for path in ("/", "/admin/", "/escalations/00000000-0000-7000-8000-000000000000/", "/no-such-page"):
        answer = client.get(path)
        assert (answer.status_code, answer["Location"]) == (302, f"{PAGE}?next={path.replace('/', '%2F')}"), path
    verb = client.post("/escalations/next", headers=JSON)
    assert (verb.status_code, verb.json()["code"]) == (403, "forbidden")
    assert PAGE in verb.json()["detail"]
    assert client.get("/", headers={"HX-Request": "true"})["HX-Redirect"] == PAGE
    assert client.post("/team/", {"team": "1"}).status_code == 302
    assert "Choose your own password" in client.get(PAGE).text
    assert change(client, new=PASSWORD).status_code == 200  # the same again is no choice
    assert client.get("/").status_code == 302
    assert change(client).status_code == 302
    assert client.get("/").status_code == 200


def test_a_password_that_a_person_chose_for_themselves_is_theirs_by_command_as_well(tmp_path: Path) -> None:
    name, file = unique("new"), tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    with pytest.raises(CommandError, match="--own"):
        run("add_person", name, "--team", make_team().slug, "--own")
    run("add_person", name, "--team", make_team().slug, "--password-file", str(file), "--own")
    assert browser(Actor.objects.get(username=name)).get("/").status_code == 200


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("changepassword", [], "manage.py set_password"),
        ("createsuperuser", ["--noinput", "--username"], "manage.py change_person USERNAME --superuser yes"),
    ],
)
def test_djangos_commands_which_leave_no_record_are_refused(command: str, options: list[str], words: str) -> None:
    actor = person_with_first_password()
    before = Actor.objects.filter(id=actor.id).values().get()
    done = subprocess.run(
        [sys.executable, "manage.py", command, *options, actor.username],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    assert Actor.objects.filter(id=actor.id).values().get() == before


def test_signing_in_with_a_first_password_leads_to_the_change_and_then_where_one_wanted_to_go() -> None:
    actor = person_with_first_password()
    client = new_client(headers=HTML)
    sent = {"username": actor.username, "password": PASSWORD, "next": "/?status=open"}
    led = client.get(client.post("/login/", sent)["Location"])
    assert led["Location"] == f"{PAGE}?next=%2F%3Fstatus%3Dopen"
    page = client.get(led["Location"])
    assert 'name="next" value="/?status=open"' in page.text
    sent = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW, "next": "/?status=open"}
    assert client.post(PAGE, sent)["Location"] == "/?status=open"
    sent |= {"old_password": NEW, "new_password1": PASSWORD, "new_password2": PASSWORD, "next": "//evil.example/"}
    assert client.post(PAGE, sent)["Location"] == "/"


def test_a_first_password_opens_no_socket_and_a_change_ends_those_that_are_open(server: Server) -> None:
    first = person_with_first_password()
    member = first.memberships.get()
    with pytest.raises(InvalidStatus) as refused:
        open_socket(server.url, member.team.slug, sign_in(Person(first, member)))
    assert refused.value.response.status_code == 403
    own = make_person(make_team())
    with open_socket(server.url, own.membership.team.slug, sign_in(own)) as socket:
        socket.send('{"after": 0}')
        assert change(browser(own.actor)).status_code == 302
        assert close_code(socket, seconds=30) == 4403


def test_the_people_of_the_demo_keep_theirs_and_every_page_says_that_it_is_a_demo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def says_so() -> list[bool]:
        monkeypatch.setattr(demo, "_known", (False, 0.0))
        person = make_person(make_team(), "admin", is_staff=True)
        client = browser(person.actor)
        pages = ["/login/", "/", PAGE, "/admin/", "/no-such-page", "/api/v1/docs"]
        return [
            "Demo: made-up people" in (new_client(headers=HTML) if p == "/login/" else client).get(p).text
            for p in pages
        ]

    of_others = list(Actor.objects.filter(is_demo=True, is_active=True).values_list("id", flat=True))
    Actor.objects.filter(id__in=of_others).update(is_active=False)  # whom another test left
    assert not any(says_so())
    actor = person_with_first_password(is_demo=True, origin=PasswordOrigin.GENERATED)
    try:
        assert browser(actor).get("/").status_code == 200
        assert all(says_so())
    finally:
        Actor.objects.filter(id=actor.id).update(is_active=False)
    assert not any(says_so())
    Actor.objects.filter(id__in=of_others).update(is_active=True)


def start_check(**environment: str) -> str:
    code = "from memoryhub.config import wsgi"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    return done.stderr if done.returncode else ""


def test_with_https_the_start_is_refused_while_a_generated_first_password_is_unchanged(tmp_path: Path) -> None:
    given = person_with_first_password()
    assert start_check(HTTPS="1") == ""  # somebody whom an administrator added yesterday stops no start
    actor = person_with_first_password(origin=PasswordOrigin.GENERATED)
    try:
        refusal = start_check(HTTPS="1")
        assert f"the password that was made for {actor.username} at the first start is unchanged" in refusal
        assert f"manage.py set_password {actor.username}" in refusal
        assert "Traceback" not in refusal
        assert start_check(HTTPS="0") == ""
        file = tmp_path / "password"
        file.write_text(NEW + "\n")
        run("set_password", actor.username, password_file=str(file))
        assert start_check(HTTPS="1") == ""
        actor.refresh_from_db()
        assert actor.check_password(NEW)
        assert actor.must_change_password  # whoever runs the command need not be the person
        run("set_password", actor.username, password_file=str(file), own=True)
        actor.refresh_from_db()
        assert not actor.must_change_password
    finally:
        Actor.objects.filter(id__in=[actor.id, given.id]).update(is_active=False)


def recorded(owner_sql: psycopg.Connection[Any], actor: Actor | None, place: str = "%") -> dict[str, int]:
    rows = owner_sql.execute(
        "select kind, sum(times)::int from signin_record where actor_id is not distinct from %s and address like %s"
        " group by kind",
        [actor and actor.id, place],
    ).fetchall()
    return dict(rows)


def test_what_happens_at_the_sign_in_page_is_counted_and_shown_to_the_installations_administrators(
    owner_sql: psycopg.Connection[Any],
) -> None:
    person, place = make_person(make_team()), f"2001:db8:{os.getpid() % 9999}::1"
    client = new_client(headers=HTML, REMOTE_ADDR=place)
    for name, password in ((person.username, "x"), (person.username, PASSWORD), ("a typed password", "x")):
        client.post("/login/", {"username": name, "password": password})
        if password == PASSWORD:
            out = client.post("/logout/")
    assert out["Clear-Site-Data"] == '"cache", "storage"'
    assert recorded(owner_sql, person.actor) == {"failure": 1, "sign_in": 1, "sign_out": 1}
    net = place.rpartition("1")[0] + "/64"
    assert recorded(owner_sql, None, net) == {"failure": 1}

    installer = make_person(Team.objects.get(slug=SYSTEM_TEAM), "admin", is_staff=True, is_superuser=True)
    shown = text(signed_in(installer).get(address("core_signinrecord")))
    for words in (person.username, net, "signed in", "signed out", "wrong name or password", "(no such account)"):
        assert words in shown
    assert "a typed password" not in shown
    row = SignInRecord.objects.filter(actor=person.actor).first()
    assert row is not None
    page = address("core_signinrecord", "change", row.pk)
    assert signed_in(installer).get(page).status_code == 200
    assert signed_in(installer).post(page, {"times": "9"}).status_code == 403
    chief = make_person(make_team(), "admin", is_staff=True)
    assert signed_in(chief).get(address("core_signinrecord")).status_code == 403


@pytest.mark.usefixtures("quick_hashes")
def test_a_flood_makes_counts_and_no_rows_without_bound(owner_sql: psycopg.Connection[Any]) -> None:
    before = recorded(owner_sql, None).get("failure", 0)
    for number in range(230):
        owner_sql.execute("select record_sign_in('failure', null, %s)", [f"10.9.{number // 250}.{number % 250}"])
    client = new_client(headers=HTML, REMOTE_ADDR="10.10.0.1")
    for _ in range(6):
        client.post("/login/", {"username": "nobody", "password": "x"})
    assert recorded(owner_sql, None)["failure"] >= before + 230
    ((rows,),) = owner_sql.execute("select max(n) from (select count(*) n from signin_record group by hour, kind) c")
    assert rows <= 200 + Actor.objects.count()
    assert recorded(owner_sql, None)["delay"] >= 1


def test_the_serving_login_can_neither_change_nor_remove_what_was_recorded(app_sql: psycopg.Connection[Any]) -> None:
    for statement in ("delete from signin_record", "update signin_record set times = 0", "truncate signin_record"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app_sql.execute(statement)
    app_sql.execute("select prune_sign_ins(0)")  # never less than 30 days

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse

from agents.models import ApiKey
from escalations.actions import answers, claims
from escalations.models import Queue
from memoryhub.core.actions import memberships
from memoryhub.core.admin_base import HubAdmin
from memoryhub.core.models import AccessLog, Membership, Outbox, SignInRecord
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import observations, tasks
from memoryhub.memory.models import Decision, Observation, Task
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask
from tests.support.admin_pages import LISTS, RECORDS, SECRET, address, events, fill, signed_in, text
from tests.support.clients import new_client
from tests.support.factories import join, make_agent, make_person, make_team
from tests.support.signing_in import BACKEND


def test_nobody_is_led_to_the_sign_in_page():
    for page in ("/admin/", address("core_membership"), address("memory_task")):
        answer = new_client().get(page)
        assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={page}")
    assert new_client().get("/admin/login/")["Location"] == "/login/"


def test_no_agent_can_sign_in_or_use_its_key(team):
    agent = make_agent(team)
    client = new_client()
    answer = client.post("/login/", {"username": agent.membership.actor.username, "password": agent.key})
    assert "_auth_user_id" not in client.session
    answer = client.get("/admin/", headers=agent.headers)
    assert answer.status_code == 403
    client.force_login(agent.membership.actor, BACKEND)
    assert client.get("/admin/")["Location"].startswith("/login/")


@pytest.mark.parametrize(("role", "staff"), [("reader", True), ("support", True), ("lead", True), ("admin", False)])
def test_who_does_not_administer_the_team_gets_a_403_page(team, role, staff):
    person = make_person(team, role, is_staff=staff)
    client = signed_in(person)
    for page in ["/admin/", *map(address, LISTS), address("core_membership", "add")]:
        answer = client.get(page)
        assert answer.status_code == 403
        assert "not an administrator" in text(answer)
    before = events(team)
    answer = client.post(address("agents_agent", "add"), {"name": "x", "clearance": 1})
    assert (answer.status_code, events(team)) == (403, before)


def test_somebody_without_a_team_gets_a_403_page(team):
    person = make_person(team, "admin", is_staff=True)
    Membership.objects.filter(id=person.membership.id).update(is_active=False)
    assert signed_in(person).get("/admin/").status_code == 403


def test_the_active_team_is_switched_from_every_page_also_from_a_refusal(team, chief):
    other = make_team()
    join(other, chief.actor, "support")
    client = signed_in(chief, other)
    refusal = client.get("/admin/")
    assert refusal.status_code == 403
    assert f'value="{team.id}"' in text(refusal)
    answer = client.post("/admin/team/", {"team": team.id})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200
    stranger = make_team()
    client.post("/admin/team/", {"team": stranger.id})
    assert client.get("/admin/").status_code == 200
    assert client.session["team"] == team.id
    assert client.get("/admin/team/").status_code == 405


def test_each_team_shows_its_own_pages(browser, installer):
    inside, outside = browser.get("/admin/"), signed_in(installer).get("/admin/")
    for model in LISTS:
        assert address(model) in text(inside)
    for model in ("core_team", "core_actor"):
        assert address(model) not in text(inside)
        assert address(model) in text(outside)
        assert browser.get(address(model)).status_code == 403
        assert browser.get(address(model, "add")).status_code == 403
    assert signed_in(installer).get(address("memory_task")).status_code == 403


def test_every_page_works_and_no_model_but_ours_is_there(browser, team):
    made = fill(make_agent(team))
    for model in LISTS:
        assert browser.get(address(model)).status_code == 200
    for model in RECORDS:
        assert browser.get(address(model, "change", made[model])).status_code == 200
    assert browser.get(address("core_event", "change", events(team)[0][1])).status_code in (302, 404)
    assert all(isinstance(page, HubAdmin) for page in admin.site._registry.values())


def test_nothing_can_be_deleted_and_records_cannot_be_changed(browser, team):
    made = fill(make_agent(team))
    for model in LISTS:
        for page in ("delete", "history"):
            with pytest.raises(NoReverseMatch):
                address(model, page, 1)
    before = events(team)
    for model in RECORDS:
        page = address(model, "change", made[model])
        assert "_save" not in text(browser.get(page))
        assert browser.post(page, {"status": "done", "state": "closed"}).status_code == 403
        assert browser.get(f"{address(model)}{made[model]}/delete/").status_code in (302, 404)
        assert browser.post(f"{address(model)}{made[model]}/delete/", {"post": "yes"}).status_code in (302, 403, 404)
        with pytest.raises(NoReverseMatch):
            reverse(f"admin:{model}_delete", args=[made[model]])
    for model in (*RECORDS, "core_event", "core_accesslog", "core_outbox"):
        assert browser.get(address(model, "add")).status_code == 403
        answer = browser.post(address(model), {"action": "delete_selected", "_selected_action": [str(made["private"])]})
        assert answer.status_code in (200, 302, 403)
    assert events(team) == before
    assert not LogEntry.objects.exists()


def test_what_is_above_ones_clearance_is_absent(team, browser):
    agent = make_agent(team, 2, ["finance"])
    hidden = fill(agent, sensitivity=2, compartments=["finance"], content=SECRET, key="hidden-task")
    shown = fill(make_agent(team), key="shown-task")
    # Each is claimed, which schedules the claim's end.
    cleared = make_person(team, "support", 2, ["finance"])
    for made in (hidden, shown):
        claims.claim(cleared.viewer, escalation_id=made["escalations_escalation"])
        made["core_outbox"] = Outbox.objects.get(row_id=made["escalations_escalation"]).id
    memberships.change(system_viewer(team.id), member=make_person(team).membership, is_active=False)
    listed = text(browser.get(address("core_outbox")))
    assert str(shown["core_outbox"]) in listed
    assert "claims.release_of_member" in listed
    for model in [*RECORDS, "core_event", "core_outbox"]:
        page = text(browser.get(address(model)))
        for row_id in hidden.values():
            assert str(row_id) not in page
        assert "hidden-task" not in page
        assert "finance" not in page
    for model in [*RECORDS, "core_outbox"]:
        absent = browser.get(address(model, "change", "01890000-0000-7000-8000-000000000000"), follow=True)
        answer = browser.get(address(model, "change", hidden[model]), follow=True)
        assert answer.status_code == absent.status_code == 200
        assert SECRET not in text(answer)
        assert [url for url, _ in answer.redirect_chain] == [url for url, _ in absent.redirect_chain] == ["/admin/"]
        assert browser.get(address(model, "change", shown[model])).status_code == 200
    assert "0 results" in text(browser.get(address("memory_task"), {"q": "hidden-task"}))
    assert "1 result" in text(browser.get(address("memory_task"), {"q": "shown-task"}))


def test_the_key_of_a_task_that_is_hidden_is_not_shown_beside_its_rows(team, browser):
    agent = make_agent(team, 2, ["finance"])
    task, _ = tasks.create(
        agent.viewer, item=NewTask(key="hidden-task", title="x", sensitivity=2, compartments=["finance"])
    )
    low = {"sensitivity": 1, "compartments": []}
    seen = observations.log(agent.viewer, item=NewObservation(content="low", task=task.key, **low)).id
    for page in (address("memory_observation"), address("memory_observation", "change", seen)):
        answer = text(browser.get(page))
        assert str(seen) in answer
        assert "hidden-task" not in answer


def test_confidential_text_is_opened_on_its_own_page_only_and_that_is_recorded(team):
    chief = make_person(team, "admin", 2, is_staff=True)
    client = signed_in(chief)
    made = fill(make_agent(team, 2), sensitivity=2, compartments=[], content=SECRET)

    def opened():
        with viewer_transaction(system_viewer(team.id)):
            return {
                str(row) for row in AccessLog.objects.filter(reader=chief.membership).values_list("row_id", flat=True)
            }

    for model in RECORDS:
        assert SECRET not in text(client.get(address(model)))
    assert opened() == set()
    for model in RECORDS:
        assert SECRET in text(client.get(address(model, "change", made[model])))
    assert opened() == {str(made[model]) for model in RECORDS}
    assert str(made["memory_task"]) in text(client.get(address("core_accesslog")))


def test_private_observations_are_their_authors(team, browser):
    made = fill(make_agent(team))
    assert str(made["private"]) not in text(browser.get(address("memory_observation")))
    answer = browser.get(address("memory_observation", "change", made["private"]), follow=True)
    assert answer.redirect_chain


def test_other_teams_are_absent(browser, chief):
    other = make_team()
    fill(make_agent(other), key="foreign-task")
    agent, person = make_agent(other), make_person(other)
    for model in LISTS:
        page = text(browser.get(address(model)))
        for word in (agent.name, person.name, "foreign-task", ApiKey.objects.get(id=agent.key_id).prefix):
            assert word not in page
    queue = Queue.objects.get(team=other)
    rows = {
        "agents_agent": agent.membership.id,
        "agents_apikey": agent.key_id,
        "core_membership": person.membership.id,
        "escalations_queue": queue.id,
    }
    before = events(other)
    for model, row in rows.items():
        assert browser.get(address(model, "change", row)).status_code == 302
        assert browser.post(address(model, "change", row), {"revoke": "on", "claim_minutes": 1}).status_code == 302
    assert events(other) == before


def test_lists_ask_as_much_at_one_row_as_at_many(team, browser):
    def asked():
        counts = {}
        for model in LISTS:
            with CaptureQueriesContext(connection) as queries:
                assert browser.get(address(model)).status_code == 200
            counts[model] = len(queries)
        return counts

    agent = make_agent(team)
    fill(agent)
    make_person(team)
    browser.get("/admin/")
    one = asked()
    for _ in range(8):
        fill(make_agent(team, group="many"))
        make_person(team)
    assert asked() == one


def test_filters_that_are_not_shown_are_refused(browser, installer):
    """Else a column that is not shown could be guessed, a character at a time."""
    client = signed_in(installer)
    assert client.get(address("core_actor"), {"password__startswith": "p"}).status_code == 400
    for query in ({"author__actor__password__startswith": "p"}, {"body__contains": "x"}, {"sealed__isnull": "1"}):
        assert browser.get(address("memory_task"), query).status_code == 400
    for query in (
        {"status__exact": "open"},
        {"status__exact": "\0"},
        {"q": "\0"},
        {"p": "x"},
        {"p": "99999"},
        {"o": "9"},
    ):
        assert browser.get(address("memory_task"), query).status_code in (200, 302, 400)


def test_escalations_are_filtered_by_their_state(team, browser):
    fill(make_agent(team))
    for state, count in (("queued", "1 escalation"), ("closed", "0 escalations")):
        assert count in text(browser.get(address("escalations_escalation"), {"state": state}))


@pytest.mark.parametrize("taken", ["right", "time"])
def test_a_claim_that_is_over_is_shown_as_over_though_no_worker_has_written_it_down(team, browser, owner_sql, taken):
    sam = make_person(team, name="sam")
    made = fill(make_agent(team))
    row = made["escalations_escalation"]
    claims.claim(sam.viewer, escalation_id=row)

    def pages():
        cases = address("escalations_escalation")
        found = {state: text(browser.get(cases, {"state": state})) for state in ("queued", "claimed")}
        one, task = text(browser.get(f"{cases}{row}/change/")), address("memory_task", "change", made["memory_task"])
        return found, one, text(browser.get(task)), text(browser.get(address("memory_task")))

    lists, *others = pages()
    assert "1 escalation" in lists["claimed"]
    assert all("sam" in page for page in (lists["claimed"], *others))
    assert "icon-yes" in others[1]
    if taken == "right":
        memberships.change(system_viewer(team.id), member=sam.membership, is_active=False)
    else:
        past = "now() - interval '1 second'"
        owner_sql.execute(f"update escalation set claim_expires_at = {past} where id = %s", [row])
        owner_sql.execute(f"update task set lease_expires_at = {past} where id = %s", [made["memory_task"]])
    lists, *others = pages()
    assert "0 escalations" in lists["claimed"]
    assert "1 escalation" in lists["queued"]
    assert not any("sam" in page for page in (lists["queued"], *others))
    assert "icon-yes" not in others[1]


def test_states_and_headings_are_said_in_words(team):
    chief = make_person(team, "admin", 2, is_staff=True)
    client = signed_in(chief)
    row = fill(make_agent(team, 2), sensitivity=2, compartments=[])["escalations_escalation"]
    claims.claim(chief.viewer, escalation_id=row)
    answers.decide(chief.viewer, escalation_id=row, verdict="respond", message="Yes.")
    pages = [client.get(address("escalations_escalation", *of)) for of in ((), ("change", row))]
    assert all("handed back" in text(page) and ">handed_back<" not in text(page) for page in pages)
    with viewer_transaction(system_viewer(team.id)):
        seen = {"core_accesslog": AccessLog.objects.latest("id").id, "core_outbox": Outbox.objects.latest("id").id}
    for model, found in seen.items():
        assert " object (" not in text(client.get(address(model, "change", found)))
    assert str(SignInRecord(kind=SignInRecord.Kind.FAILURE)) == "wrong name or password"


def test_the_second_lock_holds_where_the_first_is_forgotten(team, browser, monkeypatch):
    agent = make_agent(team, 2, ["finance"])
    hidden = fill(agent, sensitivity=2, compartments=["finance"], key="hidden-task")
    monkeypatch.setattr("memoryhub.core.admin_base.visible_to", lambda viewer, rows: rows)
    for model in RECORDS:
        page = text(browser.get(address(model)))
        assert str(hidden[model]) not in page
        assert "hidden-task" not in page


def test_every_row_is_counted_up_to_the_bound(team, browser, monkeypatch):
    agent = make_agent(team)
    for _ in range(4):
        fill(agent)
    assert "4 tasks" in text(browser.get(address("memory_task")))
    monkeypatch.setattr("memoryhub.core.admin_base.MOST_ROWS", 3)
    assert "3 tasks" in text(browser.get(address("memory_task")))
    with viewer_transaction(agent.viewer):
        assert [model.objects.filter(team=team).count() for model in (Task, Observation, Decision)] == [4, 8, 4]

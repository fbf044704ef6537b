"""Alerts in the admin: looked at by who administers the team, whoever they were sent to; nowhere else by people."""

from memoryhub.core.models import AccessLog
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import alerts
from memoryhub.memory.models import Alert
from memoryhub.memory.schemas.alerts import NewAlert
from tests.support.admin_pages import address, signed_in, text
from tests.support.factories import make_agent, make_person


def send(team, level: int, insight: str) -> str:
    sender, recipient = make_agent(team, level), make_agent(team, level)
    made, _ = alerts.send(
        sender.viewer, to=[recipient.membership], item=NewAlert(to="all", insight=insight, sensitivity=level)
    )
    return str(made)


def test_the_list_shows_what_the_label_allows_and_no_text(team, chief):
    shown, hidden = send(team, 1, "canary"), send(team, 2, "canary")
    chief.membership.clearance = 1
    chief.membership.save(update_fields=["clearance"])
    page = text(signed_in(chief).get(address("memory_alert")))
    assert shown in page
    assert hidden not in page
    assert "canary" not in page


def test_opening_a_confidential_one_is_recorded(team, chief):
    chief.membership.clearance = 2
    chief.membership.save(update_fields=["clearance"])
    made = send(team, 2, "canary")
    assert "canary" in text(signed_in(chief).get(address("memory_alert", "change", made)))
    with viewer_transaction(system_viewer(team.id), read_only=True):
        assert AccessLog.objects.filter(row_id=made, reader=chief.membership).count() == 1


def test_outside_of_that_page_an_alert_is_its_senders_and_recipients(team):
    made = send(team, 1, "canary")
    with viewer_transaction(make_person(team, "admin").viewer, read_only=True):
        assert not Alert.objects.filter(id=made).exists()

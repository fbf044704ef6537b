"""Agents are told of memory, not of who may see what."""

from memoryhub.memory.actions import observations
from memoryhub.memory.actions.observations import NewObservation
from tests.support.factories import make_agent, make_team, unique
from tests.support.ledger import head
from tests.support.streams import opened, poll
from tests.support.web import Server


def test_that_a_compartment_was_made_is_not_told_to_an_agent_that_has_it(server: Server):
    team = make_team()
    after = head(team.id)
    agent = make_agent(team, 1, [unique("legal")])  # by the system, which makes the word
    logged = observations.log(agent.viewer, item=NewObservation(content="x")).id
    assert [event["type"] for event in poll(server, agent, f"after={after}").json()["events"]] == ["observation.log"]
    with opened(server, agent, f"after={after}") as stream:
        (told,) = stream.events(1)
    assert (told.event, told.data["id"]) == ("observation.log", str(logged))

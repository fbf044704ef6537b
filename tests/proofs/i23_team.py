"""Prints, as JSON, two teams for I23: `acme` with an agent and a person's session, and `calm` with an agent."""

import json

import django

django.setup()

from tests.support.factories import make_agent, make_person, make_team  # noqa: E402
from tests.support.signing_in import sign_in  # noqa: E402

acme, calm = make_team("acme"), make_team("calm")
print(
    json.dumps(
        {
            "team": acme.slug,
            "id": acme.id,
            "key": make_agent(acme, 1, ["finance", "pii"]).key,
            "session": sign_in(make_person(acme)),
            "calm": make_agent(calm).key,
        }
    )
)

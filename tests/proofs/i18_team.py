"""Makes a team for I18 in the database that the environment names; prints its agents' keys, then a person's name."""

import os

import django


def main() -> None:
    """Eight agents and a person, cleared for what is confidential."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "memoryhub.config.settings"
    django.setup()
    from memoryhub.core.models import Sensitivity
    from tests.support.factories import make_agent, make_person, make_team

    team = make_team()
    for _ in range(8):
        print(make_agent(team, Sensitivity.CONFIDENTIAL).key)
    print(make_person(team, clearance=Sensitivity.CONFIDENTIAL).username)


if __name__ == "__main__":
    main()

"""Makes a team for I1 in the database that the environment names, and prints its agents' keys, one a line."""

import os

import django


def main() -> None:
    """A team with eight agents."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "memoryhub.config.settings"
    django.setup()
    from tests.support.factories import make_agent, make_team

    team = make_team()
    for _ in range(8):
        print(make_agent(team).key)


if __name__ == "__main__":
    main()

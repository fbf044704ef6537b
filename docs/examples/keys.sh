#!/bin/sh
# Adds the examples' agents to a team (default: demo) and prints their keys for the shell:
#   eval "$(sh docs/examples/keys.sh)"
set -eu
cd "$(dirname "$0")/../.."
team=${1:-demo}
manage() { .venv/bin/python manage.py "$@"; }
scopes=memory:read,memory:write,tasks,escalations,alerts,insights:read
for name in outreach research sales inventory pricing intake; do
  case $name in
    pricing) rights="--clearance confidential --compartments finance" ;;
    *) rights="--clearance internal" ;;
  esac
  # shellcheck disable=SC2086  # the rights are words
  manage add_agent "$name" --team "$team" --group "$name" $rights >&2 || echo "$name is there already" >&2
  echo "export $(echo "$name" | tr a-z A-Z)_KEY=$(manage issue_key "$name" --team "$team" --scopes "$scopes" --name example)"
done

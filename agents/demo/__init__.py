"""Simulated agents of a small online shop, which use the public HTTP API and nothing else: to watch, and as an example.

`client.py` calls the API, `stories.py` invents the cases, `workers.py` has the agents.
"""

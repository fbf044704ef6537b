"""Simulated agents of a small online shop, which use the public HTTP API and nothing else: to watch, and as an example.

`client.py` calls the API, `stories.py` makes up what happens, `workers.py` is how an agent works.
"""

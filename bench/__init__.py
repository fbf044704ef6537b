"""Measurements of docs/performance.md, each beside its baseline, in interleaved rounds: `python -m bench`."""

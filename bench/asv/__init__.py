"""Benchmarks over the history of versions, by airspeed velocity: ``asv run``, see bench/README.md."""

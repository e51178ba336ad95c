"""Benchmarks of tracejit beside its peers: ``python -m benchmarks core``."""

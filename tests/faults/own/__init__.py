"""Faults of our own files, below Python: see `tests.faults.own.run`."""

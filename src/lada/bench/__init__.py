"""Suites: every method on the same work, over seeds, with intervals."""

"""Suites: run every method on the same work, over seeds, and compare them with intervals."""

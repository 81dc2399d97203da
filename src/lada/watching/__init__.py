"""The progress of a run, seen from outside: computed from its events, for users and for Prometheus."""

"""Hosts: what happens in a round, and who sends what to whom."""

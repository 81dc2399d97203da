"""Policies: what a party removes from its knowledge before sending it."""

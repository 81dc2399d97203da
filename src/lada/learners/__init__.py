"""Kinds of learners: where a party's model comes from."""

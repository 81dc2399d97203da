"""Hooks: how gradients change within a study, and weights after it."""

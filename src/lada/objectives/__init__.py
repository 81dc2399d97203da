"""Objectives: the loss of a lesson."""

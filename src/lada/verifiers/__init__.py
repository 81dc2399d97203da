"""Verifiers: functions that score an answer, instead of a comparison with a gold answer."""

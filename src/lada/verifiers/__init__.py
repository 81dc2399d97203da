"""Verifiers: functions that give an answer a score, in the place of a comparison with a gold answer."""

"""Experiment trackers receive a run's figures, in addition to its own folder. All are optional; none is on by
default."""

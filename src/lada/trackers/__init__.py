"""Experiment trackers: where a run's figures may go beside its own folder. All are optional; none is on by default."""

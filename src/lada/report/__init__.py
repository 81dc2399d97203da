"""Floor 5: one self-contained HTML page a run."""

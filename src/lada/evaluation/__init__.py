"""Floor 1: accuracy, agreement, calibration and statistics."""

"""Accuracy, agreement, calibration and statistics."""

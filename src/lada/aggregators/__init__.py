"""Aggregators: which weights each client continues with after all have sent theirs."""

"""What left each client of a run, and the search for what must not have."""

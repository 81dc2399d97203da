"""Floor 5: what left each client of a run, and the search for what must not have."""

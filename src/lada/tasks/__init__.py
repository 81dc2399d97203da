"""Tasks: where samples come from, how answers are checked, and how data is divided among clients."""

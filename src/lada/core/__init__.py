"""Floor 0: the terms every other room speaks in, the method registry, seeds and errors."""

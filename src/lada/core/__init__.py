"""The terms every other room speaks in, the method registry, seeds and errors."""

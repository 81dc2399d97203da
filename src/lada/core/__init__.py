"""The terms that all other rooms use, the method registry, seeds and errors."""

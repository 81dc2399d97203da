"""The terms that all other packages use, the method registry, seeds and errors."""

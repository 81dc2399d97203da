"""Exports a party of a run as files for other software, and checks that these give the party's answers."""

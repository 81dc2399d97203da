"""A party of a run as files that other software runs, and the check that these answer as the party does."""

"""Plans: what a run will do and whether it fits, before it starts and without weights or a network."""

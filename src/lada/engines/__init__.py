"""A run in Flower's own processes: the simulation, and the deployment over several machines."""

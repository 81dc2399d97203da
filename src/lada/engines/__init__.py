"""Runs in Flower's own processes: the simulation, and the deployment across several machines."""

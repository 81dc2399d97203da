"""How a run is doing, from the outside: folded from its events, for people and for Prometheus."""

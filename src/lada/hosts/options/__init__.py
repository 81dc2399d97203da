"""The options of the hosts, which a host and its entry in the catalogue both import."""

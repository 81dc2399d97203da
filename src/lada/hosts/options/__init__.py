"""The options of the hosts. A host and its entry in the catalogue both import them."""

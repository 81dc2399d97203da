"""Floor 6: the command line; thin: parse, call, print."""

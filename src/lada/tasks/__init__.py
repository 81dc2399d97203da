"""Where samples come from, how answers are checked, how data is spread over clients."""

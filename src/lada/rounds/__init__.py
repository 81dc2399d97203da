"""The parts of rounds: what a party does, sends, receives and checks."""

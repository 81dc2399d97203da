"""What rounds are made of: what a party does, sends, receives and checks."""

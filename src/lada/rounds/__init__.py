"""Floor 3: what a round is made of: what a party does, tells and hears."""

"""Floor 3: what of a party's own data must not leave it?"""

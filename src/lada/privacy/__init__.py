"""What of a party's own data must not leave it?"""

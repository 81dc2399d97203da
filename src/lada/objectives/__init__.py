"""Floor 2: what loss does a lesson give?"""

"""Floor 2: what happens inside and around a study?"""

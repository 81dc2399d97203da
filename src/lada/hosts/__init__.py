"""Floor 3: what happens in a round, who tells whom what?"""

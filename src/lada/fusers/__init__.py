"""Floor 2: how do several signals become one?"""

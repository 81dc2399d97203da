"""How do several signals become one?"""

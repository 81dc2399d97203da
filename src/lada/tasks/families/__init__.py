"""Families of reasoning-gym as domains of a federation: rationales, levels, chains of two, and styles of right
paths."""

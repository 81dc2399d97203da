"""Families of reasoning-gym as a federation's domains: rationales, levels, chains of two, and styles of right paths."""

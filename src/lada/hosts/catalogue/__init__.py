"""The hosts by name: what each is, its options and what it needs. A host itself is imported when one is made.

So to list methods, or to refuse a configuration, takes nothing of what a round needs.
"""

"""The catalogue of hosts: the description, options and needs of each. A host itself is imported only when it is
created.

So listing methods or refusing a configuration imports nothing that only a round needs.
"""

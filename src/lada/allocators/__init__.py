"""Which samples, for which (teacher, student) pair and direction?"""

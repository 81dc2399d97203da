"""Floor 2: which samples, for which (teacher, student) pair and direction?"""

"""Floor 2: where does a learner come from?"""

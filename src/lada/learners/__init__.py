"""Where does a learner come from?"""

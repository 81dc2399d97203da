"""Which loss does a lesson have?"""

"""Where do new public questions come from?"""

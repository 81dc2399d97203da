"""What loss does a lesson give?"""

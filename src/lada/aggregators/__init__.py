"""What does each client go on with, of what all of them send?"""

"""What does each client continue with after all have sent their weights?"""

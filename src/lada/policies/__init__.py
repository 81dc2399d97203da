"""What does a party take out of what it knows before it leaves?"""

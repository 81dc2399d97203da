"""What does a party remove from its knowledge before sending it?"""

"""What happens inside and around a study?"""

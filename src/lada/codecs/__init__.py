"""How does knowledge become bytes?"""

"""Floor 2: how does knowledge become bytes?"""

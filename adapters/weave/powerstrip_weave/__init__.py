"""
Gives containers addresses on a network that spans hosts.
"""

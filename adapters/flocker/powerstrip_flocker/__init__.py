"""
Gives containers volumes that follow them from host to host.
"""

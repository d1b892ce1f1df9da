"""
Nodes that speak to each other.
"""

"""
Datasets in a cluster: who owns which, and how one moves.
"""

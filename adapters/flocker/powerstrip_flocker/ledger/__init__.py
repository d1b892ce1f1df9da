"""
Where it is written down who owns which dataset: a file on one node, etcd in a cluster.
"""

"""
Where datasets are kept on a host: file systems with snapshots.
"""

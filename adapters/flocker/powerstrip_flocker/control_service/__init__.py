"""
Datasets that Flocker's own control service has, for those who run it.
"""

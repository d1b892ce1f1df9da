"""
The networks that containers can be attached to.
"""

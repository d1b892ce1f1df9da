"""
For those who write adapters in Python: the hook protocol seen from the adapter, and the engine.
"""

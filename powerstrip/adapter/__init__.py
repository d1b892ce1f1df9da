"""
For those who write adapters in Python: the hook protocol seen from the adapter, and the engine.

``hooks`` answers Powerstrip, ``engine`` asks the engine, ``events`` follows it, ``serving`` makes a
service of an adapter, ``json_text`` changes JSON and leaves the rest of it as it is, ``members``
reads from it what the engine would. ``asking``, ``posted`` and ``tables`` are for an adapter's own
command. ``testing`` has an engine in memory, and `powerstrip.testing` calls an adapter as
Powerstrip does.
"""

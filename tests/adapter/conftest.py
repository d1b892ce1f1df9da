"""
A Docker Engine for what adapters do with one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.engine import PrivateEngine, why_not

ENGINES = Path("/tmp/powerstrip-tests")
"""Not below pytest's own directory: a socket's path has 107 characters at most."""


@pytest.fixture(scope="session")
def private_engine() -> Iterator[PrivateEngine]:
    """
    An engine of these tests' own, with the image busybox.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with PrivateEngine(ENGINES, f"kit-{os.getpid()}") as engine:
        engine.import_busybox()
        yield engine

"""
What tests over sockets have.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from tests.net.harness import Rig


@pytest_twisted.async_yield_fixture
async def rig(short_tmp: Path) -> AsyncIterator[Rig]:
    """
    A powerstrip whose clients and engine the test plays itself.
    """
    rig = Rig(short_tmp)
    await rig.start()
    yield rig
    await rig.close()

"""
What the adapter's image starts, where it can't: the images themselves are tested on an engine.
"""

from __future__ import annotations

import pytest
from powerstrip_weave.container import main


@pytest.mark.parametrize("words", [(), ("0",), ("host",), ("--peer", "192.0.2.1")])
@pytest.mark.parametrize("before", [(), ("launch",)])
def test_the_hosts_process_is_a_number(before: tuple[str, ...], words: tuple[str, ...]) -> None:
    """
    Another word in its place is refused, before anything is started.
    """
    with pytest.raises(SystemExit) as refused:
        main([*before, "--enter-network", *words])

    assert refused.value.code == (
        "powerstrip-weave: --enter-network takes a process of the host, normally 1"
    )


def test_only_a_container_launches_one() -> None:
    """
    On a host there is nothing to launch: the adapter is a service there.
    """
    with pytest.raises(SystemExit) as refused:
        main(["launch"])

    assert refused.value.code == "powerstrip-weave: launch is for a container of the engine's"

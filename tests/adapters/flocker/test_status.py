"""
How it is, as values and as JSON.
"""

from __future__ import annotations

import json

import pytest
from powerstrip_flocker.datasets.progress import Progress
from powerstrip_flocker.datasets.record import Record, Replica
from powerstrip_flocker.interfaces import Space
from powerstrip_flocker.status import (
    DatasetStatus,
    Departure,
    Here,
    Status,
    move_json,
    read_progress,
)

RECORD = Record("data", "f" * 32, "n1", 3, {"n2": Replica("two", "2"), "n3": Replica("one", "1")})
SPACE = Space(used_bytes=5, free_bytes=1000)


@pytest.mark.parametrize(
    "move",
    [
        Progress("data", "n1", "n2", 1, 512, 1024, 16.0),
        Progress("data", "n1", "n2", 2, 0, None, 0.0),
        Departure("data", "n1", "n2"),
    ],
)
def test_a_move_is_read_as_it_was_written(move: Progress | Departure) -> None:
    """
    Also where nothing is known of it yet.
    """
    assert move == read_progress(json.loads(json.dumps(move_json(move))))


def test_figures_are_told_that_nobody_has_to_work_out() -> None:
    """
    The rate, and the expected end.
    """
    told = move_json(Progress("data", "n1", "n2", 1, 512, 1024, 16.0))
    assert (told["bytes_per_second"], told["remaining_seconds"]) == (32.0, 16.0)


def test_a_phase_that_has_sent_nothing_says_so() -> None:
    """
    A zero is no null.
    """
    told = move_json(Progress("data", "n1", "n2", 1, 0, 0, 0.0))
    assert (told["sent_bytes"], told["expected_bytes"], told["bytes_per_second"]) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("node", "here", "is_writable", "moving_to", "problem"),
    [
        ("n1", Here.WRITABLE, True, None, None),
        ("n1", Here.WRITABLE, True, "n2", None),
        ("n1", Here.FENCED, False, "n2", None),
        ("n1", Here.FENCED, False, None, "n1 owns data, but it can't be written there"),
        ("n1", Here.MISSING, False, None, "n1 owns data, but its storage does not have it"),
        ("n2", Here.REPLICA, False, None, None),
        ("n2", Here.NOTHING, False, None, None),
        ("n2", Here.ARRIVING, False, None, None),
        ("n2", Here.WRITABLE, True, None, "n1 owns data, but it can still be written on n2"),
    ],
)
def test_what_is_not_as_it_has_to_be_is_a_sentence(
    node: str, here: Here, is_writable: bool, moving_to: str | None, problem: str | None
) -> None:
    """
    A dataset that moves, or is elsewhere, is none.
    """
    found = DatasetStatus(node, "data", RECORD, here, is_writable, SPACE, moving_to)
    assert problem == found.problem


def test_without_a_record_nothing_is_wrong() -> None:
    """
    What a destroyed dataset has left on a node that was away does no harm.
    """
    assert DatasetStatus("n2", "data", None, Here.UNRECORDED, True, SPACE).problem is None


def test_replicas_are_told_by_node() -> None:
    """
    With the newest snapshot of each.
    """
    told = DatasetStatus("n1", "data", RECORD, Here.WRITABLE, True, SPACE).json()
    assert told["replicas"] == {"n2": "two", "n3": "one"}


def test_all_free_space_is_told_once() -> None:
    """
    Datasets share a pool; one with a quota of its own does not hide what others have.
    """
    datasets = [
        DatasetStatus("n1", "a", RECORD, Here.WRITABLE, True, Space(1, 10)),
        DatasetStatus("n1", "b", RECORD, Here.WRITABLE, True, Space(1, 1000)),
        DatasetStatus("n1", "c", RECORD, Here.NOTHING),
    ]
    told = Status("n1", "zfs:flocker", datasets, [], {}, None, None, []).json()
    assert told["storage"] == {"name": "zfs:flocker", "free_bytes": 1000}

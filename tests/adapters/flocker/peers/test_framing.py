"""
Frames come out as they went in, however they were cut on their way.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from powerstrip_flocker.peers.framing import HEAD, FrameReader, Kind, frame_head

FRAMES = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=40)), max_size=8)


def joined(frames: list[tuple[Kind, bytes]]) -> list[tuple[Kind, bytes]]:
    """
    With the pieces of a stream that follow each other as one.
    """
    found: list[tuple[Kind, bytes]] = []
    for kind, content in frames:
        if kind is Kind.DATA and found and found[-1][0] is Kind.DATA:
            found[-1] = (kind, found[-1][1] + content)
        elif content or kind is not Kind.DATA:
            found.append((kind, content))
    return found


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 400), max_size=10))
def test_frames_come_out_as_they_went_in(frames: list[tuple[Kind, bytes]], cuts: list[int]) -> None:
    """
    Cut anywhere: within a head, too.
    """
    written = b"".join(frame_head(kind, len(it)) + it for kind, it in frames)
    places = [0, *sorted(cuts), len(written)]
    reader = FrameReader()
    read = [
        frame
        for start, end in itertools.pairwise(places)
        for frame in reader.feed(written[start:end])
    ]
    assert joined(frames) == joined(read)


def test_a_strange_kind_is_no_frame() -> None:
    """
    Nothing is guessed from it.
    """
    with pytest.raises(ValueError, match="b'x' is not a valid Kind"):
        list(FrameReader().feed(b"x\0\0\0\0"))


def test_only_the_stream_can_be_large() -> None:
    """
    All else is held in memory.
    """
    with pytest.raises(ValueError, match="a frame of 65537 bytes"):
        list(FrameReader().feed(HEAD.pack(b"T", 65537)))
    assert list(FrameReader().feed(HEAD.pack(b"D", 2**32 - 1) + b"1")) == [(Kind.DATA, b"1")]

"""
Which sources of mounts are datasets.
"""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from powerstrip_flocker.errors import RequestError
from powerstrip_flocker.places import Place, cleaned, is_below, place_of

STEPS = ["flocker", "flockerx", "a", "b.c", "sub", ".", "..", "", "x y"]
PATHS = st.lists(st.sampled_from(STEPS), max_size=9).map(lambda steps: "/" + "/".join(steps))


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("/flocker/a", Place("a")),
        ("/flocker/a/", Place("a")),
        ("/flocker/a/sub/dir", Place("a", "sub/dir")),
        ("//flocker//a///sub/", Place("a", "sub")),
        ("///flocker/a", Place("a")),
        ("/./flocker/./a/./sub/.", Place("a", "sub")),
        ("/../flocker/a", Place("a")),
        ("/srv/../flocker/a", Place("a")),
        ("/flocker/a/sub/../other", Place("a", "other")),
        ("/flocker/a/../b", Place("b")),
        ("/flocker/../flocker/b", Place("b")),
        ("/flocker/flocker", Place("flocker")),
        ("/flocker/a/x y:z\n", Place("a", "x y:z\n")),
    ],
)
def test_a_source_in_flocker_is_a_dataset_s(source: str, place: Place) -> None:
    """
    The path counts as the engine cleans it.
    """
    assert place == place_of(source)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "/",
        "//",
        "/flockerx",
        "/flockerx/a",
        "/Flocker/a",
        "/flocker-data/a",
        "/srv/flocker/a",
        "/srv/../etc",
        "flocker",
        "flocker/a",
        "./flocker/a",
        "~/flocker/a",
        "C:\\flocker\\a",
        "\\flocker\\a",
    ],
)
def test_other_sources_are_not(source: str) -> None:
    """
    A volume may be called flocker, and a directory may begin like it.
    """
    assert place_of(source) is None


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        *(
            (
                source,
                "/flocker itself can't be mounted: name a dataset in it, as in /flocker/NAME",
            )
            for source in ("/flocker", "/flocker/", "//flocker/.", "/flocker/a/..", "/x/../flocker")
        ),
        ("/flocker/..", "the path '/flocker/..' leads out of /flocker"),
        ("/flocker/a/../../etc", "the path '/flocker/a/../../etc' leads out of /flocker"),
        ("/x/../flocker/a/../../../etc", "the path '/x/../flocker/a/../../../etc' leads out of"),
        ("/flocker/../" + "x" * 200, f"the path '/flocker/../{'x' * 87}…' leads out of /flocker"),
        ("/flocker/a b/sub", "'a b' can't be the name of a dataset"),
        ("/flocker/.../sub", "'...' can't be the name of a dataset"),
    ],
)
def test_a_source_that_is_neither_is_refused(source: str, sentence: str) -> None:
    """
    It is not left to the engine, which would make a directory of that name.
    """
    with pytest.raises(RequestError) as refused:
        place_of(source)

    assert str(refused.value).startswith(sentence)


@settings(deadline=None)
@given(PATHS)
def test_a_place_is_where_the_path_leads(source: str) -> None:
    """
    What is found in a dataset is there by its cleaned path, and what is not was never in /flocker.
    """
    path = posixpath.normpath("/" + source.lstrip("/"))
    try:
        place = place_of(source)
    except RequestError:
        assert "flocker" in source.split("/")
        return
    if place is None:
        assert f"{path}/".startswith("/flocker/") is False
    else:
        assert path == posixpath.normpath(f"/flocker/{place.dataset}/{place.below}")


@settings(deadline=None)
@given(PATHS)
def test_no_path_leads_out_of_a_dataset(source: str) -> None:
    """
    On the host, a place is where its dataset is mounted, or below.
    """
    try:
        place = place_of(source)
    except RequestError:
        return
    if place is not None:
        path = place.on_host("/pool/mnt")
        assert path == posixpath.normpath(path)
        assert f"{path}/".startswith("/pool/mnt/")


@settings(deadline=None)
@given(PATHS)
def test_paths_are_cleaned_as_python_does_it(path: str) -> None:
    """
    But for two slashes at the beginning, which are one to Go.
    """
    assert cleaned(path) == posixpath.normpath("/" + path.lstrip("/"))


@pytest.mark.parametrize(
    ("path", "directory", "is_there"),
    [
        ("/mnt/a", "/mnt/a", True),
        ("/mnt/a/", "//mnt/a", True),
        ("/mnt/a/b", "/mnt/a/", True),
        ("/mnt/b/../a/c", "/mnt/a", True),
        ("/mnt/ab", "/mnt/a", False),
        ("/mnt", "/mnt/a", False),
        ("/", "/mnt/a", False),
        ("/mnt/a/..", "/mnt/a", False),
        ("/mnt", "/", True),
    ],
)
def test_what_is_below_a_directory(path: str, directory: str, is_there: bool) -> None:
    """
    A directory is below itself, and another whose name begins with its own is not.
    """
    assert is_there is is_below(path, directory)

"""
The configuration file is live: real files, changed in the ways that people and tools change them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.logger import LogEvent, Logger, formatEvent

from powerstrip.errors import ConfigError
from powerstrip.net import config_file
from powerstrip.net.config_file import RACY_SECONDS, ConfigFile

TEXT = 'endpoints: {"POST /*/build": {pre: [%s]}}\nadapters: {%s: http://h}\n'


def text_for(adapter: str) -> str:
    return TEXT % (adapter, adapter)


class Log:
    """
    A place for a logger to write to.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.logger = Logger(observer=self.take)

    def take(self, event: LogEvent) -> None:
        self.lines.append((event["log_level"].name, formatEvent(event)))


class LiveFile:
    """
    A file and what reads it.
    """

    def __init__(self, path: Path, seconds_later: float = 0) -> None:
        self.path = path
        self.path.write_text(text_for("one"))
        self.log = Log()
        self.file = ConfigFile(
            str(path), log=self.log.logger, now_seconds=lambda: time.time() + seconds_later
        )

    def adapters(self) -> list[str]:
        return [adapter.name for adapter in self.file.config.adapters]


@pytest.fixture(params=[0, RACY_SECONDS + 10], ids=["young", "settled"])
def live(tmp_path: Path, request: pytest.FixtureRequest) -> LiveFile:
    """
    A live file, just written, as its reader knows it or as it would if it had been there for long.
    """
    return LiveFile(tmp_path / "adapters.yml", request.param)


def overwrite(path: Path, text: str) -> None:
    path.write_text(text)


def replace(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def remove_and_write(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def overwrite_and_date_back(path: Path, text: str) -> None:
    """
    As ``cp -p`` does.
    """
    status = path.stat()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [overwrite, replace, remove_and_write, overwrite_and_date_back])
def test_a_change_applies_to_the_next_request(
    live: LiveFile, change: Callable[[Path, str], None]
) -> None:
    """
    However a file of the same size takes the place of the other.
    """
    time.sleep(0.02)  # past the tick, so that the settled file may rely on its time stamps
    change(live.path, text_for("two"))
    assert live.adapters() == ["two"]


def test_many_changes_all_apply_at_once(tmp_path: Path) -> None:
    """
    Each of many changes of the same size, faster than the tick of some kernels, is seen.
    """
    live = LiveFile(tmp_path / "adapters.yml")
    names = [f"a{number:03}" for number in range(300)]
    seen = []
    for name in names:
        live.path.write_text(text_for(name))
        seen += live.adapters()
    assert names == seen


def test_changes_that_leave_the_same_time_stamps_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where the file system's time stamps stand still, a young file is read again.
    """
    monkeypatch.setattr(config_file, "_version", lambda status: (status.st_size, status.st_ino))
    live = LiveFile(tmp_path / "adapters.yml")
    live.path.write_text(text_for("two"))
    first = live.adapters()
    live.path.write_text(text_for("six"))
    assert (first, live.adapters()) == (["two"], ["six"])


def test_an_old_file_is_not_read_again(tmp_path: Path) -> None:
    """
    A file that has settled costs no more than a stat.
    """
    live = LiveFile(tmp_path / "adapters.yml", RACY_SECONDS + 1)
    first = live.file.config
    live.file._read = None  # type: ignore[assignment, method-assign]
    assert live.file.config is first


def test_a_file_that_is_dated_ahead_settles(tmp_path: Path) -> None:
    """
    A modification time in the far future does not make a file young for ever.
    """
    live = LiveFile(tmp_path / "adapters.yml", RACY_SECONDS + 1)
    os.utime(live.path, (time.time() + 10**6, time.time() + 10**6))
    assert live.adapters() == ["one"]
    live.file._read = None  # type: ignore[assignment, method-assign]
    assert live.adapters() == ["one"]


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    """
    A link that is turned to another file, as in a Kubernetes volume, is a change.
    """
    (tmp_path / "a").write_text(text_for("one"))
    (tmp_path / "b").write_text(text_for("two"))
    link = tmp_path / "adapters.yml"
    link.symlink_to("a")
    file = ConfigFile(str(link), now_seconds=lambda: time.time() + 60)
    assert [adapter.name for adapter in file.config.adapters] == ["one"]
    (tmp_path / "new").symlink_to("b")
    (tmp_path / "new").replace(link)
    assert [adapter.name for adapter in file.config.adapters] == ["two"]


def test_a_relative_path_outlives_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The path is taken relative to the directory of the start.
    """
    monkeypatch.chdir(tmp_path)
    live = LiveFile(Path("adapters.yml"))
    monkeypatch.chdir("/")
    (tmp_path / "adapters.yml").write_text(text_for("two"))
    assert live.adapters() == ["two"]


def test_a_touch_says_nothing(live: LiveFile) -> None:
    """
    New time stamps alone are no change.
    """
    live.path.touch()
    live.adapters()
    assert live.log.lines == []


def test_a_wrong_file_leaves_the_last_good_one(live: LiveFile) -> None:
    """
    The log names the mistake once, though every request looks, and says when the file is good.
    """
    live.path.write_text("endpoints: {}\n")
    assert [live.adapters() for _ in range(3)] == [["one"]] * 3
    live.path.write_text("endpoints: *x\n")
    assert [live.adapters() for _ in range(3)] == [["one"]] * 3
    live.path.write_text(text_for("two"))
    assert [live.adapters() for _ in range(3)] == [["two"]] * 3
    live.path.write_text(text_for("three"))
    assert [live.adapters() for _ in range(3)] == [["three"]] * 3
    stays = "the last good configuration stays in force: "
    file = str(live.path)
    assert [
        ("error", f'{stays}{file}, line 1: the key "adapters" is missing (it may be {{}})'),
        ("error", f"{stays}{file}, line 1: not YAML: found undefined alias 'x'"),
        ("info", f"{file} is good again and is in force"),
        ("info", f"{file} has changed and is in force"),
    ] == live.log.lines


def test_a_file_that_has_gone_leaves_the_last_good_one(live: LiveFile) -> None:
    """
    The log says once that it has gone, and once that it is back.
    """
    live.path.unlink()
    assert [live.adapters() for _ in range(3)] == [["one"]] * 3
    live.path.mkdir()
    assert [live.adapters() for _ in range(3)] == [["one"]] * 3
    live.path.rmdir()
    os.mkfifo(live.path)
    assert [live.adapters() for _ in range(3)] == [["one"]] * 3
    live.path.unlink()
    live.path.write_text(text_for("one"))
    assert [live.adapters() for _ in range(3)] == [["one"]] * 3
    unreadable = f"the last good configuration stays in force: {live.path}: can't be read: "
    assert [
        ("error", unreadable + "No such file or directory"),
        ("error", unreadable + "Is a directory"),
        ("error", unreadable + "it is not a file"),
        ("info", f"{live.path} is good again and is in force"),
    ] == live.log.lines


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"endpoints: {}\nadapters: {\xff: x}\n", ", line 2: the file is not UTF-8"),
        (b"#" * 2**21, ": the file has more than 262144 characters"),
        (b"endpoints: {}", ', line 1: the key "adapters" is missing (it may be {})'),
        (None, ": can't be read: No such file or directory"),
    ],
)
def test_a_file_that_is_wrong_at_the_start_is_an_error(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """
    There is no last good one to fall back to.
    """
    path = tmp_path / "adapters.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        ConfigFile(str(path))
    assert f"{path}{problem}" == str(caught.value)

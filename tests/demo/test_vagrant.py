"""
The Vagrantfile, and the repository's shell scripts, as far as they can be judged unrun.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VAGRANTFILE = (ROOT / "Vagrantfile").read_text(encoding="utf-8")


def shell_scripts() -> list[Path]:
    """
    All files of the repository's own that a shell runs.
    """
    places = [ROOT / ".ci", ROOT / "scripts", ROOT / "demo", ROOT / "tests", ROOT / "contrib"]
    files = [ROOT / "run.sh", *(path for place in places for path in place.rglob("*"))]
    return [path for path in files if path.is_file() and path.suffix != ".pyc" and is_shell(path)]


def is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(80)
    return (
        path.suffix == ".sh" or re.match(rb"#!/(usr/bin/env bash|bin/(ba)?sh)\b", first) is not None
    )


def test_vagrant_takes_the_vagrantfile(tmp_path: Path) -> None:
    """
    It is valid, with three machines, whatever hypervisors there are.
    """
    if shutil.which("vagrant") is None:
        pytest.skip("not installed: vagrant (scripts/install-vagrant)")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "VAGRANT_HOME": str(tmp_path / "home"),
        "VAGRANT_DOTFILE_PATH": str(tmp_path / "dotfiles"),
    }

    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "Vagrantfile validated successfully." in done.stdout
    machines = re.findall(r"^==> (\w+):", done.stdout, re.MULTILINE)
    assert machines == ["master", "node1", "node2"]


def test_each_script_that_the_vagrantfile_names_is_there() -> None:
    """
    Each is run by one of the machines, but for what all of them begin with.
    """
    lists = re.findall(r"^ON_\w+ = %w\[(.*)\]$", VAGRANTFILE, re.MULTILINE)

    named = {f"{name}.sh" for names in lists for name in names.split()}

    there = {path.name for path in (ROOT / "demo" / "vagrant").iterdir()}
    assert len(lists) == 2
    assert there - {"common.sh"} == named


def test_shellcheck_finds_nothing() -> None:
    """
    All shell scripts are clean.
    """
    if shutil.which("shellcheck") is None:
        pytest.skip("not installed: shellcheck (scripts/install-vagrant)")
    scripts = shell_scripts()
    assert {ROOT / "run.sh", ROOT / ".ci" / "run", ROOT / "demo/vagrant/node.sh"} <= set(scripts)

    done = subprocess.run(
        ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *map(str, scripts)],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout

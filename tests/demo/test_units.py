"""
What the units are started with, held to what the programs take.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import quote

import pytest
from powerstrip_flocker.options import Options as FlockerOptions
from powerstrip_weave.service import Options as WeaveOptions
from twisted.python.usage import Options as AnyOptions

from powerstrip.core.config import Config
from powerstrip.options import Options as PowerstripOptions

PLACE = Path(__file__).parents[2] / "contrib" / "systemd"
DEFAULT = (PLACE / "powerstrip.default").read_text(encoding="utf-8")
README = (PLACE / "README.md").read_text(encoding="utf-8")

OPTIONS: dict[str, type[AnyOptions]] = {
    "powerstrip": PowerstripOptions,
    "powerstrip-weave": WeaveOptions,
    "powerstrip-flocker": FlockerOptions,
}


def variables(text: str) -> list[tuple[str, str]]:
    """
    What the lines of a file for ``EnvironmentFile=`` set; also those behind a comment's sign.
    """
    return re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", text, re.MULTILINE)


def commands(unit: str) -> list[list[str]]:
    """
    What a unit starts, with each value that the file or the README have for its options.
    """
    text = (PLACE / f"{unit}.service").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    (name,) = re.findall(r"\$([A-Z_]+)$", line)
    known = variables(DEFAULT) + variables(README)
    (engine, *_) = (value for key, value in known if key == "ENGINE")
    return [
        shlex.split(line.replace("${ENGINE}", engine).replace(f"${name}", value))
        for key, value in known
        if key == name
    ]


@pytest.mark.parametrize("unit", OPTIONS)
def test_programs_take_what_units_start_them_with(unit: str) -> None:
    """
    Each command of a unit, with the options of the file and of the README, is one of twistd's that
    its program understands.
    """
    started = commands(unit)

    assert started
    for command in started:
        assert command[:4] == ["/opt/powerstrip/bin/twistd", "--nodaemon", "--pidfile=", unit]
        OPTIONS[unit]().parseOptions(command[4:])


def test_the_hooks_find_the_adapters_where_the_units_have_them_listen() -> None:
    """
    The configuration of the README is a good one, and names the sockets of the units.
    """
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)

    hooks = Config.parse(text, "adapters.yml").hooks_for("POST", b"/v1.41/containers/create")

    assert [adapter.name for adapter in hooks.pre] == ["flocker", "weave"]
    for adapter in hooks.pre:
        unit = (PLACE / f"powerstrip-{adapter.name}.service").read_text(encoding="utf-8")
        (socket,) = re.findall(r"--listen unix://(\S+)", unit)
        assert adapter.url.startswith(f"http+unix://{quote(socket, safe='')}/")


def test_the_readme_has_the_configuration_of_the_demo() -> None:
    """
    What users are shown is what Vagrant's nodes have.
    """
    (shown,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)

    assert shown in (PLACE.parents[1] / "demo" / "vagrant" / "node.sh").read_text(encoding="utf-8")


def test_the_readme_has_all_files() -> None:
    """
    Each file that can be installed is in its table.
    """
    files = {str(path.relative_to(PLACE)) for path in PLACE.rglob("*") if path.is_file()}

    named = set(re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE))

    assert named == files - {"README.md"}

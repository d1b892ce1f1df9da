"""
What all images have in common.
"""

from __future__ import annotations

import subprocess

import pytest

from demo.engine import PrivateEngine
from tests.images.conftest import SCRIPT
from tests.images.docker import docker

IMAGES = ("powerstrip", "powerstrip-weave", "powerstrip-flocker")


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_no_compiler_and_no_pip(engine: PrivateEngine, image: str) -> None:
    """
    What only builds it is left behind in the first stage.
    """
    script = "for each in gcc make pip; do command -v $each; done; command -v twistd"

    found = docker(engine, "run", "--rm", "--entrypoint", "sh", image, "-c", script)

    assert found.stdout == "/opt/powerstrip/bin/twistd\n"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_adds_little_to_its_base(engine: PrivateEngine, image: str) -> None:
    """
    Python included, which the base has not.
    """
    lines = docker(engine, "history", "--human=false", "--format={{.Size}} {{.CreatedBy}}", image)

    added = sum(int(line.split()[0]) for line in lines.stdout.splitlines() if "COPY " in line)

    limit_bytes = 60e6 if image == "powerstrip" else 70e6
    assert 10e6 < added < limit_bytes, f"{added / 1e6:.1f} MB"


def test_the_script_names_what_it_can_build() -> None:
    """
    An image that there isn't is named in a sentence.
    """
    done = subprocess.run([SCRIPT, "nonesuch"], capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr == "image: there is no adapters/nonesuch/Dockerfile\n"

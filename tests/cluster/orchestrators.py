"""
What orchestrates containers from outside, each as its user starts it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from tests.cluster.docker import Outcome, client
from tests.cluster.hosts import Host

EXAMPLES = Path(__file__).parents[2] / "examples" / "orchestrators"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
INSTALLED = CACHE / "powerstrip" / "orchestrators"
"""Where ``scripts/install-orchestrators`` puts what it doesn't install from packages."""

COMPOSE_1 = Path("/usr/lib/python3/dist-packages/compose")
"""The first generation is written in Python; the second may have the same name."""

COMPOSE_2 = INSTALLED / "cli-plugins" / "docker-compose"
ANSIBLE = INSTALLED / "ansible"
NODE = INSTALLED / "node"

LIMIT_SECONDS = 60


@frozen
class Desk:
    """
    Somebody's own directory, and a shell in it.
    """

    home: Path

    def __call__(self, *command: str | Path, **environment: str) -> str:
        """
        What a command prints, which has to succeed.
        """
        outcome = self.run(*command, **environment)
        assert outcome.status == 0, f"{' '.join(map(str, command))}: {outcome}"
        return outcome.stdout

    def run(self, *command: str | Path, **environment: str) -> Outcome:
        """
        Run a command to its end.
        """
        done = subprocess.run(
            command,
            cwd=self.home,
            env={**self._own_environment(), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def take(self, *examples: str) -> None:
        """
        Have examples here, as they are.
        """
        for example in examples:
            shutil.copy(EXAMPLES / example, self.home)

    def _own_environment(self) -> dict[str, str]:
        others = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "COMPOSE_", "DOCKER_"))
        }
        # Ansible does not start where the locale has another encoding.
        return {**others, "HOME": str(self.home), "LC_ALL": "C.UTF-8"}


class Orchestrator(Protocol):
    """
    Something that can run the example's container.
    """

    @property
    def needs(self) -> Path:
        """
        What has to be there.
        """

    @property
    def compares(self) -> bool:
        """
        Whether it leaves alone what is as it should be.
        """

    def prepare(self, desk: Desk, hosts: Sequence[Host]) -> None:
        """
        Do what is done once.
        """

    def put(self, desk: Desk, here: Host, elsewhere: Host) -> None:
        """
        Have the container run here, and not elsewhere any more.
        """


@frozen
class Compose:
    """
    A generation of Compose, which finds a node by a context of its name.
    """

    needs: Path
    program: str
    words: tuple[str, ...] = ()
    compares: bool = True

    def prepare(self, desk: Desk, hosts: Sequence[Host]) -> None:
        desk.take("compose.yaml")
        settings = desk.home / ".docker"
        settings.mkdir()
        # docker-compose 1.29 looks for contexts beside this file, and for none without it.
        (settings / "config.json").write_text("{}")
        if self.needs == COMPOSE_2:
            (settings / "cli-plugins").symlink_to(COMPOSE_2.parent)
        for host in hosts:
            desk(*_create_context(host))

    def put(self, desk: Desk, here: Host, elsewhere: Host) -> None:
        desk(*self.line(elsewhere, "down"))
        desk(*self.line(here, "up", "--detach"))

    def line(self, host: Host, *words: str) -> list[str]:
        """
        The command line for one node.
        """
        return [self.program, "--context", host.node.host, *self.words, *words]


class Ansible:
    """
    Ansible with its collection ``community.docker``.
    """

    needs = ANSIBLE / "ready"
    compares = True

    def prepare(self, desk: Desk, hosts: Sequence[Host]) -> None:
        desk.take("inventory.yml", "playbook.yml")
        variables = desk.home / "host_vars"
        variables.mkdir()
        for host in hosts:
            file = variables / f"{host.node.host}.yml"
            file.write_text(f"docker_host: {host.docker.host}\n")

    def put(self, desk: Desk, here: Host, elsewhere: Host) -> None:
        program = ANSIBLE / "bin" / "ansible-playbook"
        where = f"node={here.node.host}"
        desk(program, "--inventory", "inventory.yml", "--extra-vars", where, "playbook.yml")


@frozen
class Script:
    """
    A script that makes use of an SDK.
    """

    needs: Path
    command: tuple[str, str]
    compares: bool = False

    def prepare(self, desk: Desk, hosts: Sequence[Host]) -> None:
        desk.take(self.command[1])
        if self.needs == NODE / "ready":
            (desk.home / "node_modules").symlink_to(NODE / "node_modules")

    def put(self, desk: Desk, here: Host, elsewhere: Host) -> None:
        desk(*self.command, here.docker.host, elsewhere.docker.host)


def _create_context(host: Host) -> list[str]:
    where = f"host={host.docker.host}"
    return [client(), "context", "create", host.node.host, "--docker", where]


COMPOSES = {
    "compose 1": Compose(COMPOSE_1, "/usr/bin/docker-compose"),
    "compose 2": Compose(COMPOSE_2, client(), ("compose",)),
}

ORCHESTRATORS: dict[str, Orchestrator] = {
    **COMPOSES,
    "ansible": Ansible(),
    "python": Script(Path(sys.executable), (sys.executable, "notes.py")),
    "node": Script(NODE / "ready", ("node", "notes.mjs")),
}

"""
What ``twistd powerstrip`` takes on its command line.

Sans-I/O: words in, a mapping out. Addresses and the configuration are read by the service.
"""

from __future__ import annotations

import os
import re
from typing import ClassVar

from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

DEFAULT_CONFIG = "/etc/powerstrip/adapters.yml"


class Options(BaseOptions):
    """
    What ``twistd powerstrip`` takes.
    """

    synopsis = "[options]"
    longdesc = (
        "A proxy in front of the Docker Engine that calls adapters before and after requests."
    )

    optParameters: ClassVar = [
        ["config", "c", DEFAULT_CONFIG, "The adapters, and the requests that they see."],
        [
            "docker",
            None,
            None,
            "The engine: unix:///PATH, tcp://HOST:PORT or a Twisted endpoint, if not DOCKER_HOST.",
        ],
        ["socket-mode", None, "0660", "The permissions of UNIX sockets, in octal."],
        ["socket-group", None, None, "The group of UNIX sockets, if not that of the engine's."],
        ["grace", None, "10", "Seconds that running exchanges have to end after SIGTERM."],
        ["workers", None, "1", "How many processes serve. More than one share the sockets."],
    ]
    optFlags: ClassVar = [["trace", None, "Log heads, and what each hook changed."]]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        # ``--help`` would show the breaks between the lines of the docstring, and their indent.
        self.docs["listen"] = " ".join(self.docs["listen"].split())

    def opt_listen(self, address: str) -> None:
        """
        Where clients come in: unix:///PATH, tcp://HOST:PORT, or a Twisted server endpoint such as
        systemd:domain=UNIX:index=0. May be given several times. [default: tcp://127.0.0.1:2375]
        """
        self["listen"].append(address)

    def postOptions(self) -> None:
        """
        Check what is not checked elsewhere.
        """
        if not re.fullmatch(r"[0-7]{1,4}", self["socket-mode"]):
            raise UsageError("--socket-mode takes an octal number such as 0660")
        self["socket-mode"] = int(self["socket-mode"], 8)
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", self["grace"]):
            raise UsageError("--grace takes a number of seconds")
        self["grace"] = float(self["grace"])
        if not re.fullmatch(r"[1-9][0-9]{0,2}", self["workers"]):
            raise UsageError("--workers takes a number from 1 to 999")
        self["workers"] = int(self["workers"])

    def for_worker(self) -> list[str]:
        """
        The words that give one of several workers what it needs to know of these.
        """
        # The working directory may have changed since these were given: ``twistd --rundir``.
        words = ["--config", os.path.abspath(self["config"]), "--grace", f"{self['grace']:f}"]
        if self["docker"] is not None:
            words += ["--docker", self["docker"]]
        return [*words, "--trace"] if self["trace"] else words

"""
The demo: one docker command, straight to an engine and through powerstrip with hooks.

It shows each thing it does, checks what came of it, and takes all of it away again.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time

from demo.engine import EngineError, why_not
from demo.place import Occupied
from demo.stage import Stage, StageError, free_port, ignore
from demo.story import Story
from demo.trace import TraceReader

CONFIG = """\
version: 1
endpoints:
  "POST /*/containers/create":
    pre: [label, welcome]
    post: [announce]
adapters:
  label: http://127.0.0.1:{label}/label
  welcome: http://127.0.0.1:{concierge}/welcome
  announce: http://127.0.0.1:{concierge}/announce
"""

GREETING = "GREETING=hello from a pre-hook"
LABELS = '{"via":"powerstrip"}'
REFUSAL = "concierge: no privileged containers here"
WARNING = "WARNING: seen by a post-hook"


class DemoError(Exception):
    """
    Something did not come out as the demo says it does.
    """


def main() -> int:
    reason = why_not()
    if reason is not None:
        print(f"demo-hooks: {reason}", file=sys.stderr)
        return 1
    # Also where a shell started this in the background, which has SIGINT ignored: POSIX, 2.11.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    story = Story()
    try:
        with Stage("hooks") as stage:
            Demo(story, stage).run()
            story.step("Cleaning up")
            story.say(f"The processes, the namespace and {stage.directory} go.")
    except (DemoError, EngineError, Occupied, StageError) as error:
        print(f"demo-hooks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo-hooks: interrupted, and cleaned up", file=sys.stderr)
        return 130
    story.close("Proved: adapters changed, announced and refused what a plain docker asked for.")
    return 0


class Demo:
    """
    The steps, each of which checks what it shows.
    """

    def __init__(self, story: Story, stage: Stage) -> None:
        self.story = story
        self.stage = stage
        self.host = ""

    def run(self) -> None:
        self.story.title("Powerstrip: a docker run passes through pre-hooks and a post-hook")
        self.start_engine()
        self.start_powerstrip(self.start_adapters())
        self.run_straight()
        self.run_hooked()
        self.compare()
        self.be_refused()

    def start_engine(self) -> None:
        self.story.step("A Docker Engine of its own")
        self.stage.start_engine()
        version = json.loads(self.stage.engine.request("GET", "/version")[1])["Version"]
        self.story.say(
            f"Docker {version}, in a network namespace of its own, with an image made of this "
            f"machine's busybox. All of it lies in {self.stage.directory}."
        )

    def start_adapters(self) -> dict[str, int]:
        """
        Start both programs.

        Returns:
            Their ports, by name.
        """
        self.story.step("Two adapters: small HTTP services that answer hooks")
        ports = {}
        for name, path, on_line in (
            ("label", "examples/label.py", ignore),  # its own log is a web server's
            ("concierge", "demo/concierge.py", self.story.aside),
        ):
            port = ports[name] = free_port()
            self.story.command(f"python {path} {port}")
            self.stage.start_adapter(name, [sys.executable, path, str(port)], port, on_line)
        return ports

    def start_powerstrip(self, ports: dict[str, int]) -> None:
        self.story.step("Powerstrip, with a socket of its own in front of the engine's")
        config = CONFIG.format(**ports)
        self.story.command("cat", "adapters.yml")
        for line in config.splitlines():
            self.story.output(line)
        options = self.stage.powerstrip_options().items()
        self.story.command(
            "twistd --nodaemon powerstrip --trace", *(f"{name} {value}" for name, value in options)
        )
        trace = TraceReader(lambda line: self.story.aside("powerstrip", line))
        self.stage.start_powerstrip(config, lambda _, line: trace.read(line))

    def run_straight(self) -> None:
        self.story.step("A docker run, straight to the engine")
        self.point_at(self.stage.engine.docker_host)
        seen = self.docker("run --name direct busybox env")
        self.check(GREETING not in seen, "the engine's own answer is free of hooks")

    def run_hooked(self) -> None:
        self.story.step("The same docker run, through powerstrip")
        self.point_at(self.stage.powerstrip_host)
        seen = self.docker("run --name hooked busybox env")
        self.check(GREETING in seen, "a pre-hook has added a variable")
        self.check(WARNING in seen, "a post-hook has added a warning")
        self.story.say("attach, wait and start have no hooks: their bytes pass as they are.")

    def compare(self) -> None:
        self.story.step("What the engine has made of the two")
        seen = self.docker("inspect --format '{{.Name}} {{json .Config.Labels}}' direct hooked")
        self.check(seen == ["/direct {}", f"/hooked {LABELS}"], "one of two has the label")

    def be_refused(self) -> None:
        self.story.step("An adapter refuses: the engine never sees the request")
        seen = self.docker("run --name forbidden --privileged busybox true", status=125)
        self.check(any(REFUSAL in line for line in seen), "docker prints the adapter's words")
        seen = self.docker("ps --all --format '{{.Names}}: {{.Status}}'")
        self.check(len(seen) == 2, "there is no third container")

    def point_at(self, host: str) -> None:
        self.host = host
        self.story.command(f"export DOCKER_HOST={host}")

    def docker(self, arguments: str, status: int = 0) -> list[str]:
        """
        Show and run a docker command, and what it prints as it comes.

        Args:
            status: The exit status that it must end with.
        """
        self.story.command(f"docker {arguments}")
        process = subprocess.Popen(
            ["docker", *shlex.split(arguments)],
            env=self.stage.environment(self.host),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines = []
        with process:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                self.story.output(lines[-1])
        time.sleep(0.2)  # the last lines of powerstrip's log come after the answer
        self.check(process.returncode == status, f"it ends with status {status}")
        return lines

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            raise DemoError(f"this does not hold: {what}")


if __name__ == "__main__":
    sys.exit(main())

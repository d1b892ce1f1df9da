"""
``wait-for-weave``, run for real, in network namespaces of its own and as process 1.
"""

from __future__ import annotations

import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.weave.wait_network import (
    FIRST,
    LIMIT_SECONDS,
    MADE,
    MADE_AS_WAIT0,
    OTHER_UP,
    PATH,
    SECOND,
    SHOW,
    THIRD,
    TWO,
    UP,
    Network,
    built_for,
    child,
    ended,
    sleep_begins,
    switches,
    timer,
    waits_on,
    why_no_namespaces,
)

pytestmark = pytest.mark.skipif(why_no_namespaces() is not None, reason=str(why_no_namespaces()))


@pytest.fixture(params=["x86_64", "aarch64"])
def program(request: pytest.FixtureRequest) -> list[str]:
    """
    The words that run the program, built for this kind of machine or for another.
    """
    machine: str = request.param
    path = built_for(machine)
    if machine == platform.machine():
        return [str(path)]
    emulator = shutil.which(f"qemu-{machine}-static")
    if not path.exists() or emulator is None:
        pytest.skip(f"no {path.name}, or nothing to run it (scripts/wait-for-weave --cross)")
    return [emulator, str(path)]


@pytest.fixture
def native() -> Path:
    """
    The program as this machine runs it.
    """
    return built_for(platform.machine())


@pytest.fixture
def make_network() -> Iterator[Callable[[Sequence[str]], Network]]:
    """
    A function that makes a network for a program.
    """
    made: list[Network] = []

    def make(program: Sequence[str]) -> Network:
        made.append(Network(f"psw-wait-{os.getpid()}-{len(made)}", program))
        return made[-1]

    yield make
    for network in made:
        network.remove()


@pytest.fixture
def network(program: list[str], make_network: Callable[[Sequence[str]], Network]) -> Network:
    """
    A network for the program of each kind of machine, with nothing in it.
    """
    return make_network(program)


@pytest.fixture
def native_network(native: Path, make_network: Callable[[Sequence[str]], Network]) -> Network:
    """
    A network for the program as this machine runs it.
    """
    return make_network([str(native)])


@pytest.mark.parametrize("environment", [{}, {"WEAVE_CIDR": ""}, {"WEAVE_CIDR": "none"}])
def test_nothing_is_waited_for_where_no_address_is_named(
    network: Network, environment: dict[str, str]
) -> None:
    """
    Without addresses the command starts, though there is no ethwe.
    """
    assert network.run("echo", "here", environment=environment) == (0, "here\n", "")


@pytest.mark.parametrize(
    "steps",
    [
        (MADE, FIRST, SECOND, OTHER_UP, UP),
        (MADE, UP, OTHER_UP, SECOND, FIRST),
        (MADE, UP, FIRST, SECOND, OTHER_UP),
        (MADE, OTHER_UP, UP, FIRST, "link set ethwe down", SECOND, UP),
        (MADE, OTHER_UP, UP, FIRST, "addr delete 10.255.0.51/8 dev ethwe", SECOND, FIRST),
        (MADE, OTHER_UP, UP, "addr add 10.255.0.51/16 dev ethwe", SECOND, FIRST),
        (MADE, UP, "addr add 10.255.0.51/8 dev other", OTHER_UP, SECOND, FIRST),
        (MADE_AS_WAIT0, OTHER_UP, "link set wait0 up", "link set wait0 name ethwe", FIRST, SECOND),
        (MADE, OTHER_UP, UP, FIRST, "link delete ethwe", MADE, OTHER_UP, FIRST, SECOND, UP),
    ],
    ids=[
        "up last",
        "address last",
        "carrier last",
        "down and up",
        "address gone and back",
        "another prefix",
        "another interface",
        "renamed",
        "made anew",
    ],
)
def test_command_starts_with_the_last_thing_missing(
    network: Network, steps: tuple[str, ...]
) -> None:
    """
    In whatever order link and addresses come, the command starts when all are there.
    """
    process = network.start(*SHOW, environment={"WEAVE_CIDR": TWO})
    sleep_begins(process.pid)
    for step in steps[:-1]:
        network.ip(step)
    assert waits_on(process)

    network.ip(steps[-1])
    status, output, messages = ended(process)

    assert (status, messages) == (0, "")
    assert {"10.255.0.51/8", "10.254.0.1/16"} <= set(output.split())


@pytest.mark.parametrize(
    "named",
    ["10.255.0.51/8", "ip:10.255.0.51/8", "10.255.0.51/8 ip:10.254.0.1/16", ",10.255.0.51/8,,"],
)
def test_command_starts_at_once_with_its_network(network: Network, named: str) -> None:
    """
    Where all is there already nothing is waited for, and each way to name addresses is understood.
    """
    network.ip(MADE, OTHER_UP, UP, FIRST, SECOND)

    assert network.run("echo", "here", environment={"WEAVE_CIDR": named}) == (0, "here\n", "")


def test_other_end_of_an_address_is_not_the_containers(network: Network) -> None:
    """
    The address of a point-to-point link's other end does not count, the own one does.
    """
    network.ip(MADE, OTHER_UP, UP, "addr add 10.0.0.1 peer 10.0.0.2/32 dev ethwe")
    theirs = {"WEAVE_CIDR": "10.0.0.2/32", "WEAVE_WAIT_SECONDS": "1"}

    assert network.run("true", environment={"WEAVE_CIDR": "10.0.0.1/32"})[0] == 0
    assert network.run("true", environment=theirs)[0] == 120


def test_ipv6_address_is_waited_for_until_it_has_been_checked(network: Network) -> None:
    """
    While the kernel looks for others with an address, the command does not start.
    """
    network.ip(MADE, OTHER_UP, UP)
    process = network.start(*SHOW, environment={"WEAVE_CIDR": "fd00::1/64"})
    sleep_begins(process.pid)
    network.ip(THIRD)
    assert "tentative" in network.ip("addr show to fd00::1")
    assert waits_on(process)

    status, output, messages = ended(process)

    (line,) = (line for line in output.splitlines() if "fd00::1/64" in line)
    assert (status, messages, "tentative" in line) == (0, "", False)


def test_link_local_address_is_not_waited_for(network: Network) -> None:
    """
    The second or two that the kernel takes for an address that nobody named are not the command's.
    """
    network.check_addresses_slowly()
    network.ip(MADE, FIRST, OTHER_UP, UP)

    _, output, _ = network.run(*SHOW, environment={"WEAVE_CIDR": "10.255.0.51/8"})

    (line,) = (line for line in output.splitlines() if "fe80::" in line)
    assert "tentative" in line


def test_ipv6_address_of_another_is_an_error(
    network: Network, make_network: Callable[[Sequence[str]], Network]
) -> None:
    """
    An address that the kernel's check finds on the network ends the wait with a status.
    """
    neighbour = make_network([])
    network.ip(MADE, UP, f"link set other netns {neighbour.name}")
    neighbour.ip("addr add fd00::1/64 dev other nodad", OTHER_UP)
    process = network.start("true", environment={"WEAVE_CIDR": "fd00::1/64"})
    sleep_begins(process.pid)
    network.ip(THIRD)

    messages = "wait-for-weave: another one on the network has fd00::1/64\n"
    assert (120, "", messages) == ended(process)


def test_time_out_names_what_is_missing(
    program: list[str], make_network: Callable[[Sequence[str]], Network]
) -> None:
    """
    After WEAVE_WAIT_SECONDS the status is 120, and a sentence says what did not come.
    """
    cases = {
        "ethwe is not there": (),
        "ethwe is down": (MADE, OTHER_UP, FIRST, SECOND),
        "ethwe has no carrier": (MADE, UP, FIRST, SECOND),
        "ethwe lacks 10.255.0.51/8": (MADE, OTHER_UP, UP, SECOND),
        "ethwe lacks 10.254.0.1/16": (MADE, OTHER_UP, UP, FIRST),
        "ethwe still asks for others with fd00::1/64": (MADE, OTHER_UP, UP, FIRST, SECOND, THIRD),
    }
    environment = {"WEAVE_CIDR": f"{TWO},fd00::1/64", "WEAVE_WAIT_SECONDS": "1"}
    processes = {}
    for clause, steps in cases.items():
        network = make_network(program)
        network.check_addresses_slowly()
        network.ip(*steps)
        processes[clause] = network.start("true", environment=environment)

    for clause, process in processes.items():
        message = f"wait-for-weave: no network after 1 s: {clause}\n"
        assert (120, "", message) == ended(process)


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 60),
        ({"WEAVE_WAIT_SECONDS": ""}, 60),
        ({"WEAVE_WAIT_SECONDS": "5"}, 5),
        ({"WEAVE_WAIT_SECONDS": "9999999"}, 9999999),
        ({"WEAVE_WAIT_SECONDS": "0"}, 0),
    ],
)
def test_wait_is_bounded_as_the_environment_says(
    network: Network, environment: dict[str, str], seconds: int
) -> None:
    """
    The timer stands at WEAVE_WAIT_SECONDS, at 60 without it, and does not run if it is 0.
    """
    process = network.start("true", environment={"WEAVE_CIDR": TWO, **environment})
    sleep_begins(process.pid)
    facts = timer(process.pid)
    assert facts is not None
    left = re.search(r"it_value: \((\d+), (\d+)\)", facts.read_text())
    assert left is not None

    assert seconds == pytest.approx(int(left[1]) + int(left[2]) / 1e9, abs=2 if seconds else 0)


@pytest.mark.parametrize(
    "named",
    [
        "10.255.0.51",
        "10.255.0.51/33",
        "10.255.0.51/-8",
        "10.255.0.51/8x",
        "10.255.0.51/",
        "10.255.0.300/8",
        "fd00::1/129",
        "elsewhere/8",
        "/8",
        "ip:",
        "net:10.0.0.0/8",
        "10.0.0.1/8,none",
        "a" * 9999,
    ],
)
def test_malformed_address_is_named(network: Network, named: str) -> None:
    """
    An address that is none ends the program with 121 and a sentence, before any wait.
    """
    status, _, messages = network.run("true", environment={"WEAVE_CIDR": named})

    shown = named.split(",")[-1].removeprefix("ip:")
    sentence = f'WEAVE_CIDR has "{shown}", which is no address such as 10.255.0.51/8'
    assert (121, f"wait-for-weave: {sentence}\n") == (status, messages)


def test_too_many_addresses_are_an_error(network: Network) -> None:
    """
    The program holds 64 addresses, and does not forget the 65th.
    """
    named = ",".join(f"10.0.0.{number}/8" for number in range(65))

    status, _, messages = network.run("true", environment={"WEAVE_CIDR": named})

    assert (status, messages) == (121, "wait-for-weave: WEAVE_CIDR has more than 64 addresses\n")


@pytest.mark.parametrize("seconds", ["-1", "1.5", "soon", " 1", "+1", "10000000"])
def test_malformed_wait_is_named(network: Network, seconds: str) -> None:
    """
    A WEAVE_WAIT_SECONDS that is no whole number ends the program with 121 and a sentence.
    """
    environment = {"WEAVE_CIDR": TWO, "WEAVE_WAIT_SECONDS": seconds}

    status, _, messages = network.run("true", environment=environment)

    what = f'WEAVE_WAIT_SECONDS is "{seconds}", not a whole number from 0 to 9999999'
    assert (121, f"wait-for-weave: {what}\n") == (status, messages)


def test_no_command_is_an_error(network: Network) -> None:
    """
    Without a command there is nothing to wait for.
    """
    status, _, messages = network.run(environment={})

    usage = "wait-for-weave: usage: wait-for-weave COMMAND [ARGUMENT...]\n"
    assert (121, usage) == (status, messages)


@pytest.fixture
def bin_directories(tmp_path: Path) -> Path:
    """
    Files of one name in two directories, of which only the second may be executed.
    """
    for directory, mode in (("plain", 0o644), ("directory", 0o755), ("executable", 0o755)):
        (tmp_path / directory).mkdir()
        target = tmp_path / directory / "tool"
        if directory == "directory":
            target.mkdir()
        else:
            target.write_text(f"#!/bin/sh\necho {directory}\n")
            target.chmod(mode)
    (tmp_path / "headless").write_text("echo no shell\n")
    (tmp_path / "headless").chmod(0o755)
    (tmp_path / "orphan").write_text("#!/no/such/interpreter\n")
    (tmp_path / "orphan").chmod(0o755)
    return tmp_path


NOT_IN_PATH = 'exec: "tool": executable file not found in $PATH'


@pytest.mark.parametrize(
    ("command", "path", "status", "said"),
    [
        ("tool", "{}/plain:{}/directory:/none:::{}/executable:{}", 0, "executable"),
        ("{}/executable/tool", "", 0, "executable"),
        ("executable/tool", "", 0, "executable"),
        ("tool", "{}/plain:{}/directory", 127, NOT_IN_PATH),
        ("tool", ":.:executable", 127, NOT_IN_PATH),
        ("tool", "", 127, NOT_IN_PATH),
        ("tool", "/" + "x" * 5000, 127, NOT_IN_PATH),
        ("{}/none/tool", "", 127, "exec {}/none/tool: No such file or directory"),
        ("{}/orphan", "", 127, "exec {}/orphan: No such file or directory"),
        ("{}/orphan/tool", "", 127, "exec {}/orphan/tool: Not a directory"),
        ("{}/plain/tool", "", 126, "exec {}/plain/tool: Permission denied"),
        ("{}/directory/tool", "", 126, "exec {}/directory/tool: Permission denied"),
        ("{}/headless", "", 126, "exec {}/headless: Exec format error"),
        ("headless", "{}", 126, "exec {}/headless: Exec format error"),
    ],
)
def test_command_is_looked_up(
    program: list[str], bin_directories: Path, command: str, path: str, status: int, said: str
) -> None:
    """
    A command is found where PATH has it; only one with a slash is below the working directory.
    """
    place = str(bin_directories)
    done = subprocess.run(
        [*program, command.replace("{}", place)],
        env={"PATH": path.replace("{}", place)},
        cwd=place,
        capture_output=True,
        text=True,
    )

    prefix = "wait-for-weave: " if status else ""
    assert (status, prefix + said.replace("{}", place)) == (
        done.returncode,
        (done.stderr or done.stdout).rstrip("\n"),
    )


def test_there_is_no_path_where_the_environment_has_none(program: list[str]) -> None:
    """
    Without PATH a command with no slash is not found, as with runc.
    """
    assert subprocess.run([*program, "true"], env={}, capture_output=True).returncode == 127


AS_PROCESS_1 = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"])
@pytest.mark.parametrize("before", [(), AS_PROCESS_1], ids=["process", "process 1"])
def test_signal_ends_the_wait(network: Network, before: tuple[str, ...], name: str) -> None:
    """
    A signal ends the program with 128 and its number, though process 1 has no default actions.
    """
    number = signal.Signals[name]
    process = network.start("true", environment={"WEAVE_CIDR": TWO}, before=before)
    pid = child(process) if before else process.pid
    sleep_begins(pid)

    os.kill(pid, number)

    assert (128 + number, "", "") == ended(process)


def test_signal_is_never_lost(native_network: Network) -> None:
    """
    Whenever a signal comes, before, in or after the wait, program or command ends by it.
    """
    native_network.ip(MADE, OTHER_UP, UP, FIRST, SECOND)
    moments = random.Random(4)
    for _ in range(100):
        process = native_network.start("sleep", "1000", environment={"WEAVE_CIDR": TWO})
        time.sleep(moments.uniform(0, 0.004))
        process.terminate()

        assert ended(process)[0] in (-signal.SIGTERM, 128 + signal.SIGTERM)


def unusual_signals() -> None:
    """
    Ignore some signals and block others, as a parent may have done.
    """
    for number in (signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])


def test_ignored_and_blocked_signals_do_not_end_the_wait(native_network: Network) -> None:
    """
    A signal that is ignored stays so; one that is blocked is the command's, when it unblocks it.
    """
    process = native_network.start(*SHOW, environment={"WEAVE_CIDR": TWO}, prepare=unusual_signals)
    sleep_begins(process.pid)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    native_network.ip(MADE, OTHER_UP, UP, FIRST, SECOND)

    assert ended(process)[0] == 0


TELL_ALL = """
import glob, json, os
def read(name):
    with open(f"/proc/self/{name}", "rb") as file:
        return file.read().decode("latin-1")
print(json.dumps({
    "files": {fd: os.readlink(fd) for fd in glob.glob("/proc/self/fd/*") if os.path.lexists(fd)},
    "directory": os.getcwd(),
    "session": [os.getsid(0), os.getpgrp()],
    **{name: read(name) for name in ("environ", "cmdline", "limits", "cgroup", "oom_score_adj")},
}))
"""
ENVIRONMENT = {
    "PATH": PATH,
    "WEAVE_CIDR": "10.255.0.51/8",
    "LD_LIBRARY_PATH": "/none",
    "GLIBC_TUNABLES": "glibc.malloc.check=1",
    "EMPTY": "",
    "LATIN": os.fsdecode(b"\xe9"),
}


def told(
    network: Network, program: Sequence[str], command: Sequence[str], output: Path, **options: Any
) -> str:
    """
    What a command says as process 1 of a network that comes when a program has waited for it.
    """
    network.ip(MADE, OTHER_UP, UP)
    with output.open("w") as file:
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{network.name}", *AS_PROCESS_1, *program, *command],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            **options,
        )
    if program:
        sleep_begins(child(process))
    network.ip(FIRST)
    status = process.wait(LIMIT_SECONDS)
    network.ip("link delete ethwe")
    assert status == 0, output.read_text()
    return output.read_text()


def test_command_finds_all_as_it_was(native_network: Network, native: Path, tmp_path: Path) -> None:
    """
    Environment, words, directory, open files, limits and session are those without the program.
    """
    command = ("python3", "-c", TELL_ALL, "", "a word", "--option")
    output = tmp_path / "output"
    with (tmp_path / "open").open("w") as file:
        options = {"cwd": tmp_path, "pass_fds": [file.fileno()]}
        opened = {f"/proc/self/fd/{descriptor}" for descriptor in (0, 1, 2, file.fileno())}
        with_program = told(native_network, [str(native)], command, output, **options)
        without = told(native_network, [], command, output, **options)

    assert json.loads(without) == json.loads(with_program)
    assert opened == set(json.loads(without)["files"])


@pytest.mark.parametrize("prepare", [None, unusual_signals], ids=["usual", "unusual signals"])
def test_command_has_the_signals_and_rights_it_would_have(
    native_network: Network, native: Path, tmp_path: Path, prepare: Callable[[], None] | None
) -> None:
    """
    What is pending, blocked, ignored, caught, allowed and whose it is, is as without the program.
    """
    command, output = ("cat", "/proc/self/status"), tmp_path / "output"
    # Not SigQ, which counts what is queued for the user in all processes.
    fact = re.compile(
        "(Name|Umask|Pid|PPid|NS|Threads|Uid|Gid|Groups|Sig(?!Q)|Shd|Cap|NoNew|Sec).*", re.M
    )
    with_program = told(native_network, [str(native)], command, output, preexec_fn=prepare)
    without = told(native_network, [], command, output, preexec_fn=prepare)

    facts = [match[0] for match in fact.finditer(without)]
    assert facts == [match[0] for match in fact.finditer(with_program)]
    assert ("SigBlk:\t0000000000000000" in facts) == (prepare is None)


def test_program_sleeps_until_something_changes(network: Network) -> None:
    """
    While nothing happens the program does nothing: it does not look again and again.
    """
    process = network.start("true", environment={"WEAVE_CIDR": TWO})
    sleep_begins(process.pid)
    time.sleep(0.1)
    before = switches(process.pid)

    time.sleep(0.5)

    assert before == switches(process.pid)


def test_program_looks_again_when_news_were_dropped(network: Network) -> None:
    """
    When more has changed than the kernel keeps news of, the program sees what is there.
    """

    def dropped() -> int:
        """
        How many news the kernel could not keep for a socket that follows links and addresses.
        """
        command = ["nsenter", f"--net=/run/netns/{network.name}", "cat", "/proc/net/netlink"]
        lines = subprocess.run(
            command, check=True, text=True, stdout=subprocess.PIPE
        ).stdout.splitlines()
        (socket,) = (line.split() for line in lines if line.split()[3] == "00000111")
        return int(socket[8])

    network.ip(MADE, OTHER_UP, UP, FIRST)
    process = network.start(*SHOW, environment={"WEAVE_CIDR": TWO})
    sleep_begins(process.pid)
    process.send_signal(signal.SIGSTOP)
    changes = "".join(f"link set other alias number-{number}\n" for number in range(500))
    while not dropped():
        command = ["ip", "-netns", network.name, "-batch", "-"]
        subprocess.run(command, input=changes, check=True, text=True)
    network.ip(SECOND)

    process.send_signal(signal.SIGCONT)

    assert ended(process)[0] == 0


def test_program_needs_nothing_of_the_image(
    native: Path, tmp_path: Path, make_network: Callable[[Sequence[str]], Network]
) -> None:
    """
    It works where there is no file but itself and its command: no /proc, no /dev, no library.
    """
    shutil.copy(native, tmp_path / "wait-for-weave")
    shutil.copy(str(shutil.which("busybox")), tmp_path / "busybox")
    network = make_network(["chroot", str(tmp_path), "/wait-for-weave"])
    network.ip(MADE)
    process = network.start("/busybox", *SHOW[:1], "addr", environment={"WEAVE_CIDR": TWO})
    sleep_begins(process.pid)
    network.ip(FIRST, SECOND, OTHER_UP, UP)

    status, output, messages = ended(process)

    assert (status, messages) == (0, "")
    assert "10.254.0.1/16" in output

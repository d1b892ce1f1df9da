"""
The conformance table: docker command lines that must do the same through powerstrip.

Each line is bash, with ``docker`` as the client under test and these variables:
``$N``, a prefix for the names that the line makes (its length is always the
same); ``$ENGINE``, the engine itself, past powerstrip; ``$PYTHON``; ``$HERE``,
this directory; ``$BIG``, an archive of an image ``big``. The working directory is
empty and its own. Two containers run all the time: in ``box`` one may exec, and
nothing happens in ``still``, so that there is something to look at. Whatever is
named after ``$N`` is removed after the line. Lines run beside one another.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Mode = Literal["plain", "hooked"]

_LONG_RUNNING = (
    "--init --stop-timeout 0 -e COLOUR=red -v /data --label role=$c busybox "
    "sh -c 'echo one; echo two; echo three >&2; mkdir -p /tree/sub; echo leaf >/tree/sub/leaf; "
    "ln -s sub/leaf /tree/link; truncate -s 64M /zeros; touch /ready; sleep 100000'"
)
LONG_RUNNING = (
    f"c=box; docker run -d --name $c {_LONG_RUNNING}; "
    f"c=still; docker run -d --name $c -p 8080:80 {_LONG_RUNNING}; "
    "for c in box still; do until docker exec $c test -e /ready; do sleep 0.05; done; done"
)
"""Starts the containers that all lines share."""


@frozen
class Type:
    """
    One move of somebody at a terminal: wait until something shows, then type.
    """

    after: str
    keys: bytes


@frozen
class Resize:
    """
    One move of somebody at a terminal: wait until something shows, then resize the window.
    """

    after: str
    rows: int
    columns: int


@frozen
class Command:
    """
    One row of the table.
    """

    name: str
    line: str
    shows: str = ""
    """A regular expression found in the output without a proxy: the line does what it says."""
    status: int = 0
    """The exit status without a proxy."""
    setup: str = ""
    """A bash line that runs before, past the proxy."""
    typed: tuple[Type | Resize, ...] = ()
    """What is typed: the line then runs on a terminal."""
    hides: tuple[tuple[str, str], ...] = ()
    """What differs from run to run in this line's output: regular expressions and stand-ins."""
    modes: tuple[Mode, ...] = ("plain", "hooked")


def hide(*patterns: str) -> tuple[tuple[str, str], ...]:
    """
    The patterns, each to be replaced by a star.
    """
    return tuple((pattern, "*") for pattern in patterns)


EXITS_ON_TERM = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
"""A container's command that ends with status 7 when it is told to."""

AWAITS_SIZES = " ".join(
    f'until [ "$(stty size 2>/dev/null)" = "{size}" ]; do sleep 0.02; done; echo {word};'
    for size, word in (("24 80", "ready"), ("33 101", "resized"), ("41 97", "resized again"))
)
"""A container's command at a terminal of 24 by 80, to be resized twice."""

TICKS = "trap 'exit 7' TERM; while :; do echo tick; sleep 0.05; done"
"""A container's command that shows when somebody attaches, and ends as the one above."""

UNTIL_TICK = "until grep -sq tick out; do sleep 0.02; done"

CANCELLED_WAIT = ((r'time=.* msg="error waiting for container: context canceled"\n', ""),)
"""What the client says now and then when a container does not start."""

COLOURS = ((r"\x1b\[\d*m", ""),)
"""The client's changes between the colours of two outputs, which it reads at the same time."""

UNTIL_READY = "until grep -sq ready out; do sleep 0.02; done"

RUN = (
    Command("run", "docker run --rm busybox echo hi", "hi"),
    Command("run: both outputs", "docker run --rm busybox sh -c 'echo out; echo err >&2'", "err"),
    Command("run: exit status", "docker run --rm busybox sh -c 'exit 3'", status=3),
    Command("run: exit status 1", "docker run --rm busybox false", status=1),
    Command(
        "run: refused by the engine",
        "docker run --rm --memory 1k busybox true",
        "Minimum memory limit",
        status=125,
    ),
    Command(
        "run: not executable",
        "docker run --rm busybox /etc/passwd",
        "denied",
        status=126,
        hides=CANCELLED_WAIT,
    ),
    Command(
        "run: no such command",
        "docker run --rm busybox nosuch",
        "not found",
        status=127,
        hides=CANCELLED_WAIT,
    ),
    Command(
        "run: ended by a signal", "docker run --rm --init busybox sh -c 'kill -9 $$'", status=137
    ),
    Command(
        "run: no such image, none to pull",
        "docker run --rm nosuch/image true",
        "Unable to find image",
        status=125,
    ),
    Command(
        "run: the name is in use",
        "docker run --name box busybox true",
        "Conflict",
        status=125,
    ),
    Command(
        "run: many options",
        "docker run --rm -e A=b -w /tmp -v $PWD:/w -u nobody --hostname h --read-only --tmpfs /t "
        "--cap-drop ALL --ulimit nofile=99 --shm-size 1m --add-host x:1.2.3.4 --dns 1.1.1.1 "
        "busybox sh -c 'id -un; pwd; echo $A; ls /w; hostname; ulimit -n; tail -2 /etc/hosts; "
        "cat /etc/resolv.conf'",
        "nobody",
        setup="touch in-w",
        hides=hide(r"(\d+\.){3}\d+\s+h$"),
    ),
    Command("run -d", "docker run -d --name $N-a busybox sh -c 'exit 5'; docker wait $N-a", "5"),
    Command("run -i: half-close", "echo hi | docker run -i --rm busybox cat", "hi"),
    Command(
        "run -i: half-close, then output",
        "echo hi | docker run -i --rm busybox sh -c 'cat; sleep 0.3; echo late; exit 8'",
        "late",
        status=8,
    ),
    Command(
        "run -i: megabytes in",
        "yes 0123456789abcdef | head -c 6000000 | docker run -i --rm busybox md5sum",
    ),
    Command(
        "run -i: megabytes in and out",
        "yes 0123456789abcdef | head -c 6000000 | docker run -i --rm busybox cat | md5sum",
    ),
    Command(
        "run -i: the container ends before its input",
        "yes | docker run -i --rm busybox head -n 2",
        "y\ny",
    ),
    Command("run -t", "docker run --rm -t busybox echo hi", "hi"),
    Command(
        "run -it: typed into",
        "docker run --rm -it busybox sh -c 'echo name?; read x; echo you are $x; exit 4'",
        "you are me",
        status=4,
        typed=(Type("name\\?", b"me\n"),),
    ),
    Command(
        "run -it: a shell",
        "docker run --rm -it -e PS1='> ' -e TERM=dumb busybox sh",
        "6 x 7 is 42",
        typed=(Type("> ", b"echo 6 x 7 is $((6*7))\n"), Type("is 42", b""), Type("> ", b"exit\n")),
        hides=((r"\x1b\[6n|\r> \x1b\[J", ""),),
    ),
    Command(
        "run -it: resized",
        f"docker run --rm -it busybox sh -c '{AWAITS_SIZES}'",
        "resized",
        typed=(Resize("ready", 33, 101), Resize("resized", 41, 97)),
    ),
    Command(
        "run -it: interrupted",
        "docker run --rm -it busybox sh -c \"trap 'echo ouch; exit 9' INT; echo ready; "
        'while :; do sleep 0.05; done"',
        "ouch",
        status=9,
        typed=(Type("ready", b"\x03"),),
    ),
    Command(
        "run -it: detached from",
        "docker run -it --name $N-a busybox sh -c 'echo ready; sleep 1000'; "
        "docker inspect -f '{{.State.Running}}' $N-a",
        "true",
        typed=(Type("ready", b"\x10\x11"),),
    ),
    Command(
        "run: signals go through",
        f'docker run --rm --name $N-a busybox sh -c "{EXITS_ON_TERM}" >out & {UNTIL_READY}; '
        "kill -TERM $!; wait $!",
        status=7,
    ),
    Command(
        "run: the client is killed",
        f'docker run --name $N-a busybox sh -c "{EXITS_ON_TERM}" >out & {UNTIL_READY}; '
        "kill -KILL $!; wait $! 2>/dev/null; docker stop $N-a; "
        "docker inspect -f '{{.State.ExitCode}}' $N-a",
        "\n7\n",
    ),
    Command(
        "create, start -a",
        "docker create --name $N-a busybox sh -c 'echo hi; exit 6'; docker start -a $N-a",
        "hi",
        status=6,
    ),
    Command(
        "start -ai",
        "docker create -i --name $N-a busybox cat; echo hi | docker start -ai $N-a",
        "hi",
    ),
    Command("start: is started already", "docker start box", "box"),
    Command("start: no such container", "docker start nosuch", "No such container", status=1),
    Command(
        "start: fails",
        "docker create --name $N-a busybox nosuch; docker start $N-a",
        "not found",
        status=1,
    ),
    Command(
        "twelve at once",
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do "
        "echo $i | docker exec -i box sh -c 'cat; echo err >&2' >$i.out 2>$i.err & done; wait; "
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do cat $i.out $i.err; done",
        "12\nerr",
    ),
    Command(
        "four runs at once",
        "for i in 1 2 3 4; do "
        "echo $i | docker run -i --rm --network none busybox cat >$i.out 2>&1 & done; wait; "
        "cat 1.out 2.out 3.out 4.out",
        "4",
    ),
)

EXEC = (
    Command("exec", "docker exec box echo hi", "hi"),
    Command("exec: both outputs", "docker exec box sh -c 'echo out; echo err >&2'", "err"),
    Command("exec: exit status", "docker exec box sh -c 'exit 9'", status=9),
    Command("exec: no such command", "docker exec box nosuch || echo failed", "not found"),
    Command("exec: options", "docker exec -e A=b -w /tmp -u nobody box sh -c 'echo $A; pwd; id'"),
    Command("exec -i: half-close", "echo hi | docker exec -i box cat", "hi"),
    Command(
        "exec -i: megabytes in and out",
        "yes 0123456789abcdef | head -c 6000000 | docker exec -i box cat | md5sum",
    ),
    Command(
        "exec -it: typed into",
        "docker exec -it box sh -c 'echo name?; read x; echo you are $x; exit 4'",
        "you are me",
        status=4,
        typed=(Type("name\\?", b"me\n"),),
    ),
    Command(
        "exec -it: resized",
        f"docker exec -it box sh -c '{AWAITS_SIZES}'",
        "resized",
        typed=(Resize("ready", 33, 101), Resize("resized", 41, 97)),
    ),
    Command(
        "exec -d",
        "docker exec -d $N-a touch /t; until docker exec $N-a test -e /t; do sleep 0.05; done",
        setup="docker run -d --name $N-a --network none busybox sleep 1000",
    ),
    Command(
        "exec: the container does not run",
        "docker exec $N-a true",
        "is not running",
        status=1,
        setup="docker create --name $N-a busybox",
    ),
    Command("exec: no such container", "docker exec nosuch true", "No such container", status=1),
)

ATTACH = (
    Command(
        "attach --no-stdin",
        f"docker attach --no-stdin $N-a >out & {UNTIL_TICK}; docker kill -s TERM $N-a; "
        "wait $!; echo $?; sort -u out",
        "7\ntick",
        setup=f'docker run -d --name $N-a busybox sh -c "{TICKS}"',
    ),
    Command(
        "attach: input",
        "(echo hi; docker wait $N-a >/dev/null) | docker attach $N-a",
        "got hi",
        status=6,
        setup="docker run -d -i --name $N-a busybox sh -c 'read x; echo got $x; exit 6'",
    ),
    Command(
        "attach: a terminal",
        "docker attach $N-a",
        "got hi",
        status=6,
        setup="docker run -dit --name $N-a busybox sh -c 'read x; echo got $x; read y; exit 6'",
        typed=(Type("", b"hi\n"), Type("got hi", b"\n")),
    ),
    Command(
        "attach: signals go through",
        f"docker attach $N-a >out & {UNTIL_TICK}; kill -TERM $!; wait $!; echo $?; sort -u out",
        "7\ntick",
        setup=f'docker run -d --name $N-a busybox sh -c "{TICKS}"',
    ),
    Command(
        "attach --sig-proxy=false",
        f"docker attach --sig-proxy=false $N-a >out & {UNTIL_TICK}; kill -KILL $!; "
        "wait $! 2>/dev/null; echo $?; docker inspect -f '{{.State.Running}}' $N-a",
        "137\ntrue",
        setup=f'docker run -d --name $N-a busybox sh -c "{TICKS}"',
    ),
    Command(
        "attach: the container does not run",
        "docker attach $N-a",
        "stopped container",
        status=1,
        setup="docker create --name $N-a busybox",
    ),
    Command("attach: no such container", "docker attach nosuch", "No such container", status=1),
)

WATCHING = (
    Command("logs", "docker logs box", "one\ntwo\n"),
    Command("logs --tail", "docker logs --tail 1 box 2>/dev/null; docker logs -n 0 box"),
    Command(
        "logs --since",
        "docker logs --since 2001-01-01T00:00:00Z box; docker logs --since 2101-01-01 box",
        "one\ntwo\n",
    ),
    Command("logs --until", "docker logs --until 2001-01-01T00:00:00Z box"),
    Command("logs -t", "docker logs -t box", "one"),
    Command("logs --details", "docker logs --details box", "one"),
    Command(
        "logs -f: to the end",
        "docker logs -f $N-a",
        "2\n",
        setup="docker run -d --name $N-a busybox sh -c 'echo 1; sleep 0.5; echo 2'",
    ),
    Command(
        "logs -f: each line as it comes",
        "docker logs -f $N-a >out & until grep -sq 2 out; do sleep 0.02; done; "
        "docker inspect -f '{{.State.Running}}' $N-a; docker kill $N-a >&2; wait $!; cat out",
        "true",
        setup="docker run -d --name $N-a busybox sh -c 'echo 1; sleep 0.3; echo 2; sleep 1000'",
    ),
    Command(
        "logs -f: the client is killed",
        "docker logs -f box >out 2>&1 & until grep -sq two out; do sleep 0.02; done; "
        "kill -KILL $!; wait $! 2>/dev/null; echo $?; docker logs box",
        "137\none",
    ),
    Command(
        "logs: many",
        "docker logs $N-a | md5sum",
        setup="docker run --name $N-a busybox sh -c "
        "'yes $(printf %0200d 7) | head -c 8000000' >/dev/null",
    ),
    Command("logs: no such container", "docker logs nosuch", "No such container", status=1),
    Command(
        "events: live",
        "docker events --since $(date +%s.%N) --filter container=$N-a "
        "--format '{{.Type}} {{.Action}}' >out & docker run --rm --name $N-a busybox true; "
        "until grep -sq destroy out; do sleep 0.02; done; kill $!; wait $!; cat out",
        "container start",
    ),
    Command(
        "events --since --until",
        "s=$(date +%s.%N); docker run --rm --name $N-a busybox true; "
        "docker events --since $s --until $(date +%s.%N) --filter container=$N-a",
        "container die",
    ),
    Command(
        "events: the client is killed",
        "timeout -s KILL 0.3 docker events --filter container=still; echo $?",
        "137",
    ),
    Command("events: bad times", "docker events --since 2 --until 1", "cannot be after", status=1),
    Command(
        "stats --no-stream",
        "docker stats --no-stream --format '{{.Name}} {{.MemPerc}} {{.PIDs}}' box",
        "box",
        hides=hide(r"\d[\d.]*%?"),
    ),
    Command(
        "stats: cut",
        "docker stats --format '{{.Name}} {{.PIDs}}' still >out & "
        "until grep -sqE 'still [1-9]' out; do sleep 0.02; done; "
        "kill -KILL $!; wait $! 2>/dev/null; echo $?; grep -oE 'still [1-9]+' out | sort -u",
        "137\nstill",
    ),
    Command(
        "top",
        "docker top $N-a; docker top $N-a -o pid,args; docker top $N-a -o nosuch",
        "sleep 1000",
        status=1,
        setup="docker run -d --name $N-a --network none busybox sleep 1000",
        hides=hide(r"\b\d+(?= )", r"\d\d:\d\d(:\d\d)?"),
    ),
    Command(
        "wait: as long as it takes",
        "(sleep 0.3; docker -H $ENGINE kill $N-a >/dev/null) & docker wait $N-a $N-b",
        "137\n3",
        setup="docker run -d --name $N-a busybox sleep 1000; "
        "docker run --name $N-b busybox sh -c 'exit 3' || true",
    ),
    Command("wait: no such container", "docker wait nosuch", "No such container", status=1),
    Command("port", "docker port still; docker port still 80", "0.0.0.0:8080"),
    Command("port: none", "docker port still 81", "No public port", status=1),
    Command("ps", "docker ps --filter name=^still$", "still"),
    Command("ps -a -s: filters", "docker ps -as --no-trunc --filter label=role=still", "virtual"),
    Command("ps -q: filters", "docker ps -q --filter status=exited --filter name=^box$"),
    Command("ps: bad filter", "docker ps --filter nosuch=1", "nvalid filter", status=1),
    Command("inspect", "docker inspect still", '"Running": true'),
    Command("inspect: a format", "docker inspect -f '{{.Config.Env}}' still", "COLOUR=red"),
    Command(
        "inspect: of each kind",
        "docker inspect --type image busybox; "
        "docker inspect --type network -f '{{.Driver}} {{.Scope}} {{.Options}}' none",
        "null local",
    ),
    Command("inspect -s", "docker inspect -s -f '{{.SizeRootFs}}' still", r"\d{5}"),
    # Of a container that no other row executes anything in, which would show.
    Command("inspect: no such object", "docker inspect still nosuch", "No such object", status=1),
    Command("diff", "docker diff still | sort", "A /tree/sub/leaf"),
    Command("diff: no such container", "docker diff nosuch", "No such container", status=1),
)

LIFE = (
    Command(
        "kill",
        "docker kill -s TERM $N-a; docker wait $N-a",
        "7",
        setup=f'docker run -d --name $N-a busybox sh -c "{EXITS_ON_TERM}"; '
        "until docker logs $N-a | grep -q ready; do sleep 0.02; done",
    ),
    Command(
        "kill: does not run",
        "docker kill $N-a",
        "is not running",
        status=1,
        setup="docker create --name $N-a busybox",
    ),
    Command("kill: no such signal", "docker kill -s NOSUCH box", "nvalid signal", status=1),
    Command(
        "stop, start, restart",
        "docker stop -t 0 $N-a; docker stop $N-a; docker start $N-a; docker restart -t 0 $N-a; "
        "docker inspect -f '{{.State.Status}}' $N-a",
        "running",
        setup="docker run -d --name $N-a --network none busybox sleep 1000",
    ),
    Command(
        "pause, unpause",
        "docker pause $N-a; docker pause $N-a; docker exec $N-a true; docker unpause $N-a; "
        "docker unpause $N-a",
        "already paused",
        status=1,
        setup="docker run -d --name $N-a --network none busybox sleep 1000",
    ),
    Command(
        "rename",
        "docker rename $N-a $N-b; docker rename $N-b box; docker rename nosuch x; "
        "docker ps -a --filter name=$N --format '{{.Names}}'",
        "already in use",
        setup="docker create --name $N-a busybox",
    ),
    Command(
        "update",
        "docker update --memory 64m --memory-swap 64m --restart on-failure:2 $N-a; "
        "docker inspect -f '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy}}' $N-a; "
        "docker update --memory 1k $N-a",
        "67108864",
        status=1,
        setup="docker create --name $N-a busybox",
    ),
    Command(
        "rm",
        "docker rm $N-a; docker rm -f $N-b; docker rm -f nosuch; docker rm nosuch",
        "No such container",
        status=1,
        setup="docker create --name $N-a busybox; "
        "docker run -d --name $N-b --network none busybox sleep 1000",
    ),
    Command("rm: it runs", "docker rm box", "cannot remove|running container", status=1),
    Command(
        "container prune",
        "docker container prune -f --filter label=of=$N",
        "Deleted Containers",
        setup="docker create --label of=$N busybox; docker create --label of=$N busybox",
    ),
)

FILES = (
    Command("cp: a file out", "docker cp box:/tree/sub/leaf .; cat leaf", "leaf"),
    Command(
        "cp: a directory out", "docker cp box:/tree t; find t | sort; cat t/link", "t/sub/leaf"
    ),
    Command("cp -L: a link out", "docker cp -L box:/tree/link .; cat link", "leaf"),
    Command("cp: 64 MB out", "docker cp box:/zeros . && md5sum zeros", "zeros"),
    Command("cp: a tar out", "docker cp box:/tree - | tar t", "tree/sub/leaf"),
    Command(
        "cp: a file in",
        "docker cp in.txt $N-a:/x; docker cp in.txt $N-a:/tmp; docker cp $N-a:/x y; "
        "docker cp $N-a:/tmp/in.txt z; cat y z",
        "hello\nhello",
        setup="echo hello >in.txt; docker create --name $N-a busybox",
    ),
    Command(
        "cp: a directory in",
        "docker cp -a d $N-a:/d; docker cp $N-a:/d - | tar t",
        "d/e/f",
        setup="mkdir -p d/e; echo hello >d/e/f; docker create --name $N-a busybox",
    ),
    Command(
        "cp: a tar in",
        "tar c -C d . | docker cp - $N-a:/tmp; docker cp $N-a:/tmp/e/f - | tar xO",
        "hello",
        setup="mkdir -p d/e; echo hello >d/e/f; docker create --name $N-a busybox",
    ),
    Command(
        "cp: 64 MB in",
        "docker cp zeros $N-a:/z; docker cp $N-a:/z - | md5sum",
        setup="truncate -s 64M zeros; touch -d @0 zeros; docker create --name $N-a busybox",
    ),
    Command("cp: no such file", "docker cp box:/nosuch .", "o such|find the file", status=1),
    Command("cp: no such container", "docker cp nosuch:/x .", "No such container", status=1),
    Command("export", "docker export still | tar t | grep -v ^proc | sort | md5sum"),
    Command("export -o", "docker export -o x.tar still; tar tf x.tar | grep leaf", "tree/sub/leaf"),
    Command("export: no such container", "docker export nosuch | cat", "No such container"),
)

IMAGES = (
    Command("save", "docker save busybox | tar t", "manifest.json"),
    Command("save -o", "docker save -o x.tar busybox; tar xOf x.tar manifest.json"),
    Command("save: no such image", "docker save nosuch | cat", "No such image|does not exist"),
    Command(
        "load",
        "docker load <x.tar; docker load -q -i x.tar",
        "Loaded image: busybox",
        setup="docker save busybox >x.tar",
    ),
    Command(
        "load: 300 MB",
        "docker load -q -i $BIG; docker image inspect -f '{{len .RootFS.Layers}}' big; "
        "docker run --rm --network none big ls -l /big; docker rmi big",
        "300000000",
    ),
    Command("load: no image", "echo garbage | docker load", status=1),
    Command(
        "import",
        'docker export still | docker import -m why -c \'CMD ["ls", "/tree"]\' - $N-i:t; '
        "docker run --rm $N-i:t",
        "link",
    ),
    Command("import: from nowhere", "docker import http://127.0.0.1:1/x", "refused", status=1),
    Command(
        "commit",
        "docker commit -m why -a me -c 'LABEL a=b' $N-a $N-i; "
        "docker image inspect -f '{{.Comment}} {{.Author}} {{.Config.Labels}}' $N-i",
        "why me",
        setup="docker run -d --name $N-a --network none busybox sleep 1000",
    ),
    Command(
        "tag, rmi",
        "docker tag busybox $N-i:1; docker tag busybox $N-i:2; docker images $N-i; "
        "docker rmi $N-i:1 $N-i:2; docker images $N-i -q",
        "Untagged",
    ),
    Command("tag: bad name", "docker tag busybox UPPER", status=1),
    Command("tag: no such image", "docker tag nosuch x", "No such image", status=1),
    Command(
        "rmi: in use",
        "docker rmi $N-i",
        "conflict",
        status=1,
        # An image with one name: of one with two, the name alone would go.
        setup="docker create --name $N-a busybox; docker commit $N-a $N-i;"
        " docker create --name $N-b $N-i true",
    ),
    Command("rmi: no such image", "docker rmi nosuch", "No such image", status=1),
    Command("images", "docker images busybox; docker images --digests --no-trunc busybox"),
    Command("images: filters", "docker images -q --filter reference=busy* --filter dangling=false"),
    Command("history", "docker history busybox; docker history -q --no-trunc busybox"),
    Command("image inspect", "docker image inspect busybox", '"busybox:latest"'),
    Command("image inspect: none", "docker image inspect nosuch", "No such image", status=1),
    Command(
        "image prune",
        "docker image prune -f --filter label=of=$N",
        "Deleted Images",
        setup="echo 'FROM busybox' | DOCKER_BUILDKIT=0 docker build -q --label of=$N -",
    ),
    Command("pull: no registry", "docker pull nosuch/image", "rror", status=1),
    Command("pull: refused", "docker pull 127.0.0.1:1/x", "refused", status=1),
    Command(
        "push: refused",
        "docker tag busybox 127.0.0.1:1/$N-i; docker push 127.0.0.1:1/$N-i; "
        "s=$?; docker rmi 127.0.0.1:1/$N-i; exit $s",
        "refused",
        status=1,
    ),
    Command("login: refused", "echo p | docker login -u u --password-stdin 127.0.0.1:1", status=1),
    Command("search: no registry", "docker search x", "rror", status=1),
)

DOCKERFILE = "printf 'FROM busybox\\nCOPY . /c\\nRUN find /c | sort; echo built\\n' >Dockerfile"
CLASSIC = "export DOCKER_BUILDKIT=0; "
BUILDKIT = "export DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain; "

BUILD = (
    Command(
        "build",
        CLASSIC + "docker build --no-cache --force-rm -t $N-i .; docker run --rm $N-i cat /c/f",
        "Successfully tagged",
        setup=f"{DOCKERFILE}; echo in >f",
        hides=COLOURS,
    ),
    Command(
        "build: options",
        CLASSIC + "docker build -q --no-cache --build-arg A=b --label l=m --target one -f D "
        "--iidfile id -t $N-i . && docker run --rm $N-i cat /a; "
        "docker image inspect -f '{{.Config.Labels}}' $N-i; cat id",
        "l:m",
        setup="printf 'FROM busybox AS one\\nARG A\\nRUN echo $A >/a\\nFROM one\\n' >D",
    ),
    Command(
        "build: .dockerignore",
        CLASSIC + "docker build --no-cache --rm -t $N-i . | grep /c",
        "/c/kept",
        setup=f"{DOCKERFILE}; touch kept left; echo left >.dockerignore",
        hides=COLOURS,
    ),
    Command(
        "build: Dockerfile from stdin",
        CLASSIC + "printf 'FROM busybox\\nRUN echo yes >/y\\n' | docker build --no-cache -t $N-i -",
        "Successfully built",
        hides=COLOURS,
    ),
    Command(
        "build: context from stdin",
        CLASSIC + "tar c Dockerfile f | docker build --no-cache -t $N-i - | grep /c",
        "/c/f",
        setup=f"{DOCKERFILE}; echo in >f",
        hides=COLOURS,
    ),
    Command(
        "build: 120 MB of context",
        CLASSIC + "docker build --no-cache -t $N-i . | grep -v '^Sending'; "
        "docker run --rm $N-i ls -l /c/big",
        "125829120",
        setup=f"{DOCKERFILE}; truncate -s 120M big; touch -d @0 big",
        hides=COLOURS,
    ),
    Command(
        "build: a step fails",
        CLASSIC + "docker build --no-cache .",
        "returned a non-zero code: 5",
        status=5,
        setup="printf 'FROM busybox\\nRUN echo before; exit 5\\n' >Dockerfile",
        hides=COLOURS,
    ),
    Command(
        "build: no such instruction",
        CLASSIC + "docker build .",
        "nknown instruction",
        status=1,
        setup="printf 'FROM busybox\\nNOSUCH\\n' >Dockerfile",
    ),
    Command(
        "build: nothing to copy",
        CLASSIC + "docker build --no-cache .",
        "COPY failed",
        status=1,
        setup="printf 'FROM busybox\\nCOPY nosuch /\\n' >Dockerfile",
        hides=COLOURS,
    ),
    Command(
        "build: the client is killed",
        CLASSIC + "timeout -s KILL 1 docker build --no-cache . >out; echo $?; "
        "docker ps -q --filter ancestor=nosuch",
        "137",
        setup="printf 'FROM busybox\\nRUN sleep 3\\n' >Dockerfile",
    ),
    Command(
        "BuildKit",
        BUILDKIT
        + "docker build --no-cache -t $N-i . 2>out; echo $?; grep -oE '[0-9.]+ built$' out; "
        "docker run --rm $N-i cat /c/f",
        " built\nin",
        setup=f"{DOCKERFILE}; echo in >f",
        hides=hide(r"[\d.]+(?= built)"),
    ),
    Command(
        "BuildKit: 120 MB of context",
        BUILDKIT + "docker build -q --no-cache -t $N-i .; docker run --rm $N-i ls -l /c/big",
        "125829120",
        setup=f"{DOCKERFILE}; truncate -s 120M big; touch -d @0 big",
    ),
    Command(
        "BuildKit: a secret",
        BUILDKIT + "docker build --no-cache --secret id=s,src=s -t $N-i . >out 2>&1; "
        "docker run --rm $N-i cat /copy",
        "hush",
        setup="printf 'FROM busybox\\nRUN --mount=type=secret,id=s cp /run/secrets/s /copy\\n' "
        ">Dockerfile; echo hush >s",
    ),
    Command(
        "BuildKit: a step fails",
        BUILDKIT + "docker build --no-cache . 2>out; echo $?; grep -o 'exit code: 5' out | uniq",
        "1\nexit code: 5",
        setup="printf 'FROM busybox\\nRUN echo before; exit 5\\n' >Dockerfile",
    ),
    Command("builder prune", "docker builder prune -f --filter until=1000h", "Total"),
)

NETWORKS = (
    Command(
        "network",
        "docker network create --subnet 10.77.0.0/24 --label a=b $N-n; "
        "docker network connect --alias other --ip 10.77.0.9 $N-n $N-a; "
        "docker network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}' $N-n; "
        "docker network rm $N-n; docker network disconnect $N-n $N-a; docker network rm $N-n",
        "10.77.0.9",
        setup="docker run -d --name $N-a busybox sleep 1000",
    ),
    Command(
        "network: names are found",
        "docker run --rm --network $N-n --link $N-a:alias busybox sh -c "
        "'ping -c 1 $0 && ping -c 1 alias' $N-a | grep -c 'bytes from'",
        "2",
        setup="docker network create $N-n; "
        "docker run -d --name $N-a --network $N-n busybox sleep 1000",
    ),
    Command(
        "network ls",
        "docker network ls --filter type=builtin; docker network ls -q --filter driver=host",
        "bridge",
    ),
    Command("network inspect", "docker network inspect host", '"Driver": "host"'),
    Command(
        "network create: in use",
        "docker network create $N-n; docker network create $N-n",
        "already exists",
        status=1,
    ),
    Command("network create: predefined", "docker network create host", status=1),
    Command("network create: bad", "docker network create --subnet x $N-n", "nvalid", status=1),
    Command("network rm: built in", "docker network rm bridge", "pre-defined", status=1),
    Command(
        "network rm: none", "docker network rm nosuch", "[Nn]o such network|not found", status=1
    ),
    Command(
        "volume",
        "docker volume create --label a=b -o type=tmpfs -o device=tmpfs $N-v; "
        "docker volume inspect $N-v; docker volume ls -q --filter name=$N-v; docker volume rm $N-v",
        '"type": "tmpfs"',
    ),
    Command(
        "volume: data stays",
        "docker run --rm -v $N-v:/v busybox sh -c 'echo kept >/v/f'; "
        "docker run --rm -v $N-v:/v:ro busybox cat /v/f; "
        "docker run --rm --volumes-from box --mount type=volume,src=$N-v,dst=/w busybox ls /w",
        "kept\nf",
    ),
    Command(
        "volume rm: in use",
        "docker volume rm $N-v",
        "in use",
        status=1,
        setup="docker create --name $N-a -v $N-v:/v busybox",
    ),
    Command("volume inspect: none", "docker volume inspect nosuch", "[Nn]o such volume", status=1),
    Command("volume create: bad name", "docker volume create a/b", "nvalid", status=1),
    Command(
        "volume prune",
        "docker volume prune -f --filter label=of=$N",
        "Total reclaimed",
        setup="docker volume create --label of=$N $N-v",
    ),
)

SYSTEM = (
    Command("version", "docker version", "Server:"),
    Command("version: a format", "docker version -f '{{json .Server}}'", "ApiVersion"),
    Command(
        "info", "docker info", "Storage Driver", hides=hide(r"(?<=: )\d[\d.]*(?=\n)", "Runtimes:.*")
    ),
    Command("info: a format", "docker info -f '{{.ServerVersion}} {{.ID}} {{.Driver}}'", "overlay"),
    Command("system df", "docker system df", "Images", hides=hide(r"\d.*")),
    Command(
        "system df -v",
        "docker system df -v --format '{{range .Images}}{{.Repository}} {{end}}' "
        "| tr ' ' '\\n' | grep -x busybox",
        "busybox",
    ),
    Command("older API", "DOCKER_API_VERSION=1.40 docker ps --filter name=^box$", "box"),
    Command("API too old", "DOCKER_API_VERSION=1.10 docker ps", "too old", status=1),
    Command("API too new", "DOCKER_API_VERSION=1.99 docker ps", "too new", status=1),
    Command("not in a swarm: node ls", "docker node ls", "not a swarm manager", status=1),
    Command("not in a swarm: service", "docker service create busybox", "swarm", status=1),
    Command("not in a swarm: secret", "echo x | docker secret create s -", "swarm", status=1),
    Command(
        "plugin ls", "docker plugin ls; docker plugin inspect nosuch", "o such|not found", status=1
    ),
)

COMPOSE_FILE = """
services:
  one: {image: busybox, command: "sh -c 'echo first; sleep 1000'", stop_grace_period: 0s}
  two: {image: busybox, command: sleep 1000, depends_on: [one], stop_grace_period: 0s, init: true}
"""

COMPOSE = (
    Command(
        "compose",
        "export COMPOSE_PROJECT_NAME=$N; docker-compose up -d; docker-compose ps; "
        "docker-compose exec -T two ping -c 1 one | grep -c 'bytes from'; "
        "until docker-compose logs --no-color one | grep first; do sleep 0.1; done; "
        "docker-compose down -v 2>&1 | grep -c done",
        "first",
        setup=f"cat >docker-compose.yml <<'END'\n{COMPOSE_FILE}END\n",
    ),
    Command(
        "compose: in the foreground",
        "export COMPOSE_PROJECT_NAME=$N; docker-compose --no-ansi up --exit-code-from one 2>err; "
        "s=$?; docker-compose down 2>down; exit $s",
        "said",
        status=3,
        setup="cat >docker-compose.yml <<'END'\n"
        "services: {one: {image: busybox, command: \"sh -c 'echo said; exit 3'\"}}\nEND\n",
    ),
)

SDK = (
    Command("SDK: containers", "$PYTHON $HERE/sdk.py containers", "exec output"),
    Command("SDK: streams", "$PYTHON $HERE/sdk.py streams", "stats"),
    Command("SDK: sockets", "$PYTHON $HERE/sdk.py sockets", "echoed"),
    Command("SDK: images", "$PYTHON $HERE/sdk.py images", "build"),
    Command("SDK: errors", "$PYTHON $HERE/sdk.py errors", "404"),
)

RAW = tuple(
    Command(f"raw: {name}", f"$PYTHON $HERE/raw.py {name}", shows)
    for name, shows in (
        ("ping", "HTTP/1.1 200 OK"),
        ("head-ping", "api-version"),
        ("unversioned", "HTTP/1.1 200 OK"),
        ("not-found", "HTTP/1.1 404"),
        ("bad-parameter", "HTTP/1.1 [45]00"),
        ("not-modified", "HTTP/1.1 304"),
        ("expect", "100 Continue"),
        ("http10", "HTTP/1"),
        ("keep-alive", "404"),
        ("pipelined", "HTTP/1.1 200 OK"),
        ("close", "connection: close"),
        ("chunked", "HTTP/1.1 201"),
        ("empty-post", "HTTP/1.1 304"),
        ("repeated-headers", "HTTP/1.1 200"),
        ("archive-head", "x-docker-container-path-stat"),
        ("wait-head-first", "head before the end: True"),
        ("attach-101", "101"),
        ("attach-200", "HTTP/1.1 200"),
        ("exec-101", "echoed"),
        ("exec-200", "echoed"),
        ("slow-writer", "HTTP/1.1 201"),
    )
) + tuple(
    Command(f"raw, to the byte: {name}", f"$PYTHON $HERE/raw.py --exact {name}", modes=("plain",))
    for name in ("head-ping", "not-found", "keep-alive", "chunked", "attach-101", "archive-head")
)

COMMANDS: tuple[Command, ...] = (
    *RUN,
    *EXEC,
    *ATTACH,
    *WATCHING,
    *LIFE,
    *FILES,
    *IMAGES,
    *BUILD,
    *NETWORKS,
    *SYSTEM,
    *COMPOSE,
    *SDK,
    *RAW,
)

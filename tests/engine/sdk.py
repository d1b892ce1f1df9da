"""
What users of the ``docker`` SDK for Python do, in a few blocks.

I/O: run as ``sdk.py BLOCK`` it speaks to ``DOCKER_HOST`` and prints what came back.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

N = os.environ["N"]
client = docker.from_env()


def containers() -> None:
    """
    A container's life: run, exec, files, rename, update, stop, remove.
    """
    print(client.containers.run("busybox", "echo run output", remove=True))
    container = client.containers.run("busybox", "sleep 1000", name=f"{N}-sdk", detach=True)
    print(container.exec_run("echo exec output", demux=True))
    print(container.exec_run("sh -c 'exit 3'"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("f")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    print(container.put_archive("/tmp", archive.getvalue()))
    stream, stat = container.get_archive("/tmp/f")
    print(stat["name"], stat["size"])
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        print(tar.extractfile("f").read())
    container.rename(f"{N}-new")
    container.update(mem_limit="64m", memswap_limit="64m")
    container.reload()
    print(container.name, container.status, container.attrs["HostConfig"]["Memory"])
    container.kill("SIGKILL")
    print(container.wait())
    container.remove()
    print([c.name for c in client.containers.list(all=True, filters={"name": f"{N}-new"})])


def streams() -> None:
    """
    What goes on until somebody stops listening: logs, stats, events, attach.
    """
    box = client.containers.get("box")
    print(box.logs(), box.logs(stderr=False, tail=1))
    stats = box.stats(stream=True, decode=True)
    print("stats", [next(stats)["name"] for _ in range(2)])
    stats.close()
    events = client.events(decode=True, filters={"container": f"{N}-sdk"})
    script = "echo 1; sleep 0.2; echo 2; sleep 0.2; echo 3"
    container = client.containers.run("busybox", ["sh", "-c", script], name=f"{N}-sdk", detach=True)
    print(list(container.logs(stream=True, follow=True)))
    print([next(events)["Action"] for _ in range(2)])
    events.close()
    print(container.wait(condition="not-running"))


def sockets() -> None:
    """
    Raw sockets of attach and exec, as the SDK hands them out.
    """
    container = client.containers.create(
        "busybox", ["sh", "-c", "read x; echo echoed $x"], name=f"{N}-sdk", stdin_open=True
    )
    attached = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    attached._sock.sendall(b"this\n")
    print(read_all(attached))
    box = client.containers.get("box")
    exec_id = client.api.exec_create(box.id, "cat", stdin=True)
    started = client.api.exec_start(exec_id, socket=True)
    started._sock.sendall(b"x" * 100_000)
    started._sock.shutdown(1)
    print(read_all(started).count(b"x"), client.api.exec_inspect(exec_id)["ExitCode"])


def read_all(stream: io.RawIOBase) -> bytes:
    """
    What a socket brings until it ends.
    """
    return b"".join(iter(lambda: stream.read(65536), b""))


def images() -> None:
    """
    Build, tag, save, load, remove.
    """
    dockerfile = io.BytesIO(b"FROM busybox\nRUN echo from the build\n")
    image, log = client.images.build(fileobj=dockerfile, tag=f"{N}-i:1", rm=True, nocache=True)
    print("build", [line["stream"] for line in log if "stream" in line])
    print(image.tag(f"{N}-i", "2"), [tag["Comment"] for tag in image.history()][-1])
    saved = b"".join(image.save(named=True))
    print([sorted(loaded.tags) for loaded in client.images.load(saved)])
    client.images.remove(f"{N}-i:1")
    print([i.tags for i in client.images.list(f"{N}-i")])


def errors() -> None:
    """
    Each kind of error, as the SDK reports it.
    """
    for fails in (
        lambda: client.containers.get("nosuch"),
        lambda: client.containers.run("nosuch/image"),
        lambda: client.containers.run("busybox", "sh -c 'echo why >&2; exit 3'", remove=True),
        lambda: client.containers.create("busybox", name="box"),
        lambda: client.containers.create("busybox", mem_limit=1),
        lambda: client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 3\n")),
        lambda: client.api.start("nosuch"),
    ):
        try:
            fails()
        except (NotFound, ImageNotFound) as error:
            print("404", error.explanation)
        except ContainerError as error:
            print(error.exit_status, error.stderr)
        except (APIError, docker.errors.BuildError) as error:
            print(type(error).__name__, error)


if __name__ == "__main__":
    print(client.ping(), client.version()["ApiVersion"])
    {"containers": containers, "streams": streams, "sockets": sockets}.get(
        sys.argv[1], images if sys.argv[1] == "images" else errors
    )()
    client.close()

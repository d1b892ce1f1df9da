"""
Runs notes on one node, and on no other.

    python notes.py tcp://node1:2375 tcp://node2:2375

The first is where they go, the others are where they may be now.
"""

import sys

from docker import DockerClient
from docker.errors import NotFound

COMMAND = "trap exit TERM; hostname >>/data/index.html; httpd -f -h /data & wait"


def main(here: str, *elsewhere: str) -> None:
    for docker in map(DockerClient, (*elsewhere, here)):
        remove(docker)
    DockerClient(here).containers.run(
        "busybox",
        ["sh", "-c", COMMAND],
        name="notes",
        environment={"WEAVE_CIDR": "10.255.7.1/16"},
        volumes=["/flocker/notes:/data"],
        detach=True,
    )


def remove(docker: DockerClient) -> None:
    try:
        notes = docker.containers.get("notes")
    except NotFound:
        return
    notes.stop()
    notes.remove()


main(*sys.argv[1:])

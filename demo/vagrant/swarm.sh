#!/bin/sh
# Swarm on the master, as it was before it became part of the engine: a container that speaks
# Docker's API, and chooses a node for each container. It can be done without: run.sh then looks at
# the nodes' labels itself.
. "$(dirname "$0")/common.sh"
port=3375

without() {
    say "$* run.sh chooses nodes by their labels, without Swarm"
    exit 0
}
docker image inspect swarm >/dev/null 2>&1 || timeout 300 docker pull --quiet swarm ||
    without "the image of Swarm can't be pulled:"
docker rm --force swarm >/dev/null 2>&1 || true
docker run --detach --name swarm --restart always --publish "$ADDRESS:$port:2375" swarm \
    manage "nodes://$(addresses | sed 's/$/:2375/' | paste -sd ,)" >/dev/null ||
    without "Swarm can't be started:"
sed -i '/^DOCKER_HOST=/d' "$etc/demo"
echo "DOCKER_HOST=tcp://$ADDRESS:$port" >>"$etc/demo"

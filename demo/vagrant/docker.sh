#!/bin/sh
# The Docker Engine, from the distribution, and its client. A node's engine has its label.
. "$(dirname "$0")/common.sh"
: "${STORAGE=}" # the master has none

refresh
# Until Debian 12 the client is part of docker.io.
client=
apt-cache show docker-cli >/dev/null 2>&1 && client=docker-cli
mkdir -p /etc/docker
if [ -n "$STORAGE" ]; then
    echo "{\"labels\": [\"storage=$STORAGE\"]}" >/etc/docker/daemon.json
fi
# shellcheck disable=SC2086  # one word or none
install docker.io iptables ca-certificates $client
systemctl enable docker.service docker.socket
systemctl restart docker.service
if id vagrant >/dev/null 2>&1; then
    usermod --append --groups docker vagrant
fi

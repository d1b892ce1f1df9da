# shellcheck shell=sh
# What the other scripts begin with. They are run as root, once or again, and are told by their
# environment what the Vagrantfile knows:
#   NAME     this machine's: master, node1 or node2
#   ADDRESS  its own on the network between the machines
#   MASTER   the master's
#   NODES    the nodes, as in "node1=192.0.2.1 node2=192.0.2.2"
#   STORAGE  of a node: what it is labelled with, disk or ssd
set -eu
# shellcheck disable=SC2034  # for the other scripts
source=$(cd "$(dirname "$0")/../.." && pwd)
etc=/etc/powerstrip
export DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin"
mkdir -p "$etc"

say() {
    echo "${0##*/}: $*" >&2
}

fail() {
    say "$@"
    exit 1
}

refresh() {
    apt-get update --quiet >/dev/null
}

install() {
    apt-get install --yes --quiet --no-install-recommends "$@" >/dev/null
}

# The addresses of the nodes, one in a line.
addresses() {
    # shellcheck disable=SC2086  # a list of words
    printf '%s\n' $NODES | cut -d = -f 2
}

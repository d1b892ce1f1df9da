#!/bin/sh
# What the master has for the others: certificates for each node, and where the nodes are, for run.sh.
. "$(dirname "$0")/common.sh"

# The nodes fetch them from etcd, which says already who owns which dataset: who may read and write
# it needs no key to a node. It is reached on the network between the machines only.
keys=$etc/keys
for node in $NODES; do
    name=${node%%=*}
    [ -e "$keys/$name" ] || powerstrip-flocker keys "$keys" "$name"
    for file in ca.pem cert.pem key.pem; do
        etcdctl --endpoints "http://$MASTER:2379" put "handed-over/$name/$file" \
            <"$keys/$name/$file" >/dev/null
    done
done

# shellcheck disable=SC2086  # a list of words
echo "POWERSTRIP_NODES='$(printf '%s:2375\n' $NODES | sed 's|=|=tcp://|' | xargs)'" >"$etc/demo"

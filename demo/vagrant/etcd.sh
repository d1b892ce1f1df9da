#!/bin/sh
# etcd on the master: where it is written down which node owns which dataset. Whoever reaches it may
# change that, so it listens on the network between the machines and nowhere else. Nodes have its
# client.
. "$(dirname "$0")/common.sh"

refresh
install etcd-client
[ "$NAME" = master ] || exit 0
install etcd-server
cat >/etc/default/etcd <<END
ETCD_NAME=$NAME
ETCD_LISTEN_CLIENT_URLS=http://$ADDRESS:2379
ETCD_ADVERTISE_CLIENT_URLS=http://$ADDRESS:2379
END
systemctl enable etcd
systemctl restart etcd

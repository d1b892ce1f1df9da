#!/bin/sh
# A node: Powerstrip in the place of the engine, on its socket and on the network between the
# machines, and both adapters behind it, all as services.
. "$(dirname "$0")/common.sh"
units=$source/contrib/systemd
system=/etc/systemd/system

cat >"$etc/adapters.yml" <<'END'
version: 1
endpoints:
  "POST /*/containers/create":
    pre: [flocker, weave]
    post: [flocker]
  "POST /*/containers/*/start":
    pre: [flocker]
    post: [weave, flocker]
  "POST /*/containers/*/restart":
    pre: [flocker]
    post: [weave, flocker]
adapters:
  flocker:
    url: http+unix://%2Frun%2Fpowerstrip-flocker.sock/flocker-adapter
    timeout: 86400
  weave: http+unix://%2Frun%2Fpowerstrip-weave.sock/extension
END
addresses >"$etc/peers"

peer=$etc/peer
cat >/etc/default/powerstrip <<END
ENGINE=unix:///run/docker.real.sock
POWERSTRIP_OPTIONS=--listen unix:///run/docker.sock --listen tcp://$ADDRESS:2375
WEAVE_OPTIONS=--peers-file $etc/peers
FLOCKER_OPTIONS=--node $NAME --storage $(cat "$etc/storage") --etcd http://$MASTER:2379 --peer-listen $ADDRESS:4523 --tls-ca $peer/ca.pem --tls-cert $peer/cert.pem --tls-key $peer/key.pem
END

# The master puts them there when it is there itself.
fetch() { # fetch FILE
    tries=150
    until etcdctl --endpoints "http://$MASTER:2379" get --print-value-only \
        "handed-over/$NAME/$1" >"$peer/$1.new" 2>/dev/null && [ -s "$peer/$1.new" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "the master has no $1 for $NAME"
        sleep 2
    done
    mv "$peer/$1.new" "$peer/$1"
}
mkdir -p "$peer"
chmod 700 "$peer"
for file in ca.pem cert.pem key.pem; do
    fetch $file
done

cp "$units"/powerstrip*.service "$system"
for place in docker.socket.d docker.service.d; do
    mkdir -p "$system/$place"
    cp "$units/$place"/*.conf "$system/$place"
done
systemctl daemon-reload
systemctl enable powerstrip-flocker powerstrip-weave powerstrip
# The engine leaves its socket to Powerstrip. What runs is started anew: it may be of an older source.
systemctl stop powerstrip docker.socket docker.service
systemctl restart powerstrip-flocker
systemctl restart docker.socket docker.service powerstrip-weave
systemctl restart powerstrip
docker version >/dev/null

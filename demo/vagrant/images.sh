#!/bin/sh
# The demo's images on a node, from what registries have.
. "$(dirname "$0")/common.sh"

for image in redis server; do
    timeout 600 docker build --quiet --tag "powerstrip-demo-$image" "$source/demo/images/$image" || {
        say "no registry answers: run.sh build makes the images later, with one that does"
        exit 0
    }
done

#!/bin/sh
# Powerstrip and its adapters from this source, in the virtual environment /opt/powerstrip.
. "$(dirname "$0")/common.sh"

refresh
install python3-venv gcc libc6-dev make
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What is built leaves files behind; these shall not be in a folder that the host shares.
mkdir -p "$work/adapters"
cd "$source"
cp -R setup.py README.md pyproject.toml powerstrip twisted "$work"
cp -R adapters/weave adapters/flocker "$work/adapters"
cd "$work"
rm -rf adapters/*/build adapters/weave/powerstrip_weave/programs
make --silent --directory adapters/weave/wait-for-weave

python3 -m venv --clear /opt/powerstrip
pip() {
    /opt/powerstrip/bin/pip --quiet --disable-pip-version-check "$@"
}
pip install wheel
pip install . ./adapters/weave ./adapters/flocker
# twistd writes down its plugins, which it would else look for at each start.
/opt/powerstrip/bin/twistd --help >/dev/null
for command in powerstrip-weave powerstrip-flocker; do
    ln -sf "/opt/powerstrip/bin/$command" /usr/local/bin
done

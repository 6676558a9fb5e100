#!/bin/sh
# `make install`: builds the package as the user who calls it, and installs it and sets up the service as root.
# The arguments are options of `sensor-agent setup`.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    as_root=sudo
elif [ -z "${SUDO_USER:-}" ]; then
    as_root=
else
    echo "Type make install without sudo: it builds the package as $SUDO_USER, and then asks for sudo." >&2
    exit 1
fi

"${PYTHON:-python3}" deploy/debian/build_debs.py
# shellcheck disable=SC2012 # The names have no special characters.
package=$(ls -t dist/sensor-agent_*_all.deb | head -n 1)
# Again also if the version is the same: a checkout can change without it.
$as_root apt-get install -y --reinstall "./$package"
$as_root sensor-agent setup "$@"

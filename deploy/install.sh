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

if [ "$(stat --file-system --format %T /)" = overlayfs ] && ! systemd-detect-virt --quiet --container; then
    echo "The root file system is an overlay. If raspi-config made it (Performance Options, Overlay File System)," >&2
    echo "a restart loses everything that is installed now: turn it off there, restart, and install again." >&2
fi

"${PYTHON:-python3}" deploy/debian/build_debs.py
# Prints the newest package of this name and architecture.
newest() {
    # shellcheck disable=SC2012 # The names have no special characters.
    ls -t "./dist/$1"_*_"$2.deb" | head -n 1
}

# Packages of one version belong together: apt would remove the others that are installed.
packages=$(newest sensor-agent all)
if dpkg-query --show --showformat '${db:Status-Status}' sensor-agent-central 2>/dev/null | grep -qx installed; then
    packages="$packages $(newest sensor-agent-central all)"
fi
# Adafruit's driver has a package of its own, for the architectures of a Raspberry Pi. Setup may propose it.
adafruit=$(newest sensor-agent-adafruit "$(dpkg --print-architecture)" 2>/dev/null)
# Again also if the version is the same: a checkout can change without it.
# shellcheck disable=SC2086 # These are several words.
$as_root apt-get install -y --reinstall --allow-downgrades --no-remove $packages $adafruit
$as_root sensor-agent setup "$@"

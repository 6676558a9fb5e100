#!/bin/sh
# Checks what a target of the Makefile needs before anything is set up for it. Prints one sentence
# and ends with 1 if something is missing.
#
#   sh tests/system/preconditions.sh service | package | kernel | pi3 | everywhere | azure | pi [--fake-hw]
set -eu
target=$1
shift

refuse() {
    printf 'make test-%s %s\n' "$target" "$*" >&2
    exit 1
}

# Arguments: a program and the package of Debian that has it, program:package ...
programs() {
    command -v apt-get >/dev/null || refuse "runs on Debian and systems derived from it only."
    missing=
    for entry in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${entry%%:*}" >/dev/null ||
            missing="$missing ${entry##*:}"
    done
    [ -z "$missing" ] ||
        refuse "needs more programs. Install them: sudo apt-get install$missing"
}

# Everything here makes root file systems, which takes root's rights; some containers' root has few.
root() {
    [ "$(id -u)" = 0 ] || refuse "must be run by root: sudo make test-$target"
    unshare --mount true 2>/dev/null ||
        refuse "must be able to mount: this container forbids it. Start the container privileged."
}

case $target in
service)
    programs mmdebstrap:mmdebstrap systemd-nspawn:systemd-container nsenter:util-linux
    root
    ;;
package)
    programs mmdebstrap:mmdebstrap systemd-nspawn:systemd-container nsenter:util-linux \
        ip:iproute2 lintian:lintian gpg:gpg gpg-agent:gpg-agent \
        qemu-aarch64-static:qemu-user-static
    root
    ;;
everywhere)
    programs mmdebstrap:mmdebstrap systemd-nspawn:systemd-container
    root
    case " $* " in
    *-tools\ *) tools=yes ;;
    *-bare\ *) tools= ;;
    *) tools=yes ;; # No cell is named, so all are run.
    esac
    [ -z "$tools" ] || [ -d tests/support/node/node_modules ] ||
        refuse "needs packages from npm. Install them: npm install --prefix tests/support/node" \
            "--no-package-lock --ignore-scripts"
    ;;
kernel)
    [ "$(uname -m)" = x86_64 ] ||
        refuse "emulates an x86-64 machine with what is installed for one: run it on x86-64."
    programs mmdebstrap:mmdebstrap qemu-system-x86_64:qemu-system-x86 cpio:cpio
    root
    ;;
pi3)
    programs mmdebstrap:mmdebstrap qemu-system-aarch64:qemu-system-arm cpio:cpio \
        fdtput:device-tree-compiler
    root
    ;;
azure)
    missing=
    for name in AZURE_APP AZURE_TOKEN_FILE AZURE_ID_SCOPE AZURE_GROUP_KEY_FILE; do
        eval "[ -n \"\${$name:-}\" ]" || missing="$missing $name"
    done
    [ -z "$missing" ] ||
        refuse "needs the credentials of your application. Set in the environment:$missing" \
            '(tests/support/rest.py explains each).'
    for name in AZURE_TOKEN_FILE AZURE_GROUP_KEY_FILE; do
        file=
        eval "file=\$$name"
        [ -r "$file" ] || refuse "cannot read $file, which $name names."
    done
    ;;
pi)
    case " $* " in *' --fake-hw '*) exit 0 ;; esac
    model=$(tr -d '\0' 2>/dev/null </proc/device-tree/model) || model=
    case $model in
    'Raspberry Pi'*) ;;
    *) refuse 'needs a Raspberry Pi with a sensor and an LED.' \
        'To see what its report looks like: make test-pi ARGS=--fake-hw' ;;
    esac
    for chip in /dev/gpiochip0 /dev/gpiochip4; do
        [ ! -e "$chip" ] || [ -w "$chip" ] || refuse "may not use $chip." \
            "Join its group: sudo usermod -aG $(stat -c %G "$chip") $(id -un), and log in again."
    done
    if command -v systemctl >/dev/null && systemctl --quiet is-active sensor-agent; then
        refuse 'needs the sensor for itself. Stop the service first: sudo systemctl stop sensor-agent'
    fi
    ;;
*)
    echo "usage: sh tests/system/preconditions.sh service | package | kernel | pi3 | everywhere | azure | pi" >&2
    exit 2
    ;;
esac

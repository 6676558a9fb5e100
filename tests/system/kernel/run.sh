#!/bin/sh
# The board's drivers under a real kernel: Debian 12's own, in a virtual machine that QEMU emulates in
# software. On its GPIO chip (gpio-sim) is the LED's line, on another (dhtsim) a DHT22. The daemon is
# installed in there as on a Pi, with a central beside it, and the tests of this directory run there.
#
#   sh tests/system/kernel/run.sh [arguments for pytest]
#
# What takes long is made once and kept in $XDG_CACHE_HOME/sensor-agent-tests (about 300 MB): kernel
# and modules, and a Debian with everything but the daemon. VENV names the virtual environment whose
# pip fetches the packages.
set -eu
cd "$(dirname "$0")/../../.."
here=tests/system/kernel
# shellcheck source=tests/system/machines.sh
. tests/system/machines.sh

make_kernel() {
    kernel=$cache/kernel-$(key "$here/modules.sh" "$here/Kbuild" "$here"/*.c)
    ! is_cached "$kernel" || return 0
    say "Building the drivers for Debian's kernel (once, about a minute)"
    mkdir "$work/modules"
    cp "$here/modules.sh" "$here/Kbuild" "$here"/*.c "$work/modules"
    # One apt-get update for headers, kernel and source: they must be of one version.
    quietly mmdebstrap --quiet --variant=apt --include=make,xz-utils,linux-headers-amd64 \
        --customize-hook="copy-in $work/modules /" \
        --customize-hook='chroot "$1" sh /modules/modules.sh' \
        --customize-hook="copy-out /modules/out $work" \
        --format=null bookworm /dev/null
    keep "$work/out" "$kernel"
}

make_system() {
    system=$cache/system-$(key tests/system/machines.sh "$0" setup.cfg constraints.txt).tar
    ! is_cached "$system" || return 0
    say 'Making a Debian 12 for the virtual machine (once, about a minute)'
    fetch_packages x86_64
    quietly mmdebstrap --quiet --variant=apt \
        --include=python3,python3-venv,mount,iproute2,kmod,gpiod,util-linux \
        --customize-hook="copy-in $work/wheels /" \
        --customize-hook='chroot "$1" python3 -m venv /opt/sensor-agent' \
        --customize-hook='chroot "$1" sh -c "/opt/sensor-agent/bin/pip install --no-index /wheels/*"' \
        --customize-hook='rm -r "$1/wheels"' \
        --format=tar bookworm "$work/system.tar"
    keep "$work/system.tar" "$system"
}

make_image() {
    root=$work/root
    mkdir "$root"
    tar -xf "$system" -C "$root"
    mkdir -p "$root/modules"
    cp "$kernel"/*.ko "$root/modules/"
    build_project "$root/modules"
    quietly chroot "$root" sh -c \
        '/opt/sensor-agent/bin/pip install --no-index --no-deps /modules/sensor_agent-*.whl'
    copy_tests "$root/checks" kernel
    install -m 755 "$here/init.sh" "$root/init"
    printf '%s\n' "$@" >"$root/checks/arguments"
    pack "$root"
}

make_work_directory
make_kernel
make_system
make_image "$@"
say "Starting Debian's kernel $(cat "$kernel/version") under QEMU"
# Time in the machine is counted in instructions, and while it sleeps it is skipped.
run_machine qemu-system-x86_64 -accel tcg -icount shift=2,sleep=off -cpu max -smp 1 -m 1500 -nic none \
    -kernel "$kernel/vmlinuz" -append 'console=ttyS0 panic=1 quiet mitigations=off'

#!/bin/sh
# The LED on an emulated Raspberry Pi 3B: QEMU's, with Debian 12's arm64 kernel and its real GPIO driver.
# The daemon runs there, and a central; the tests of this directory look at GPIO 17. QEMU's Pi has no
# inputs from outside, so there is no sensor.
#
#   sh tests/system/pi3/run.sh [arguments for pytest]
#
# What takes long is made once and kept in $XDG_CACHE_HOME/sensor-agent-tests (about 250 MB).
set -eu
cd "$(dirname "$0")/../../.."
here=tests/system/pi3
# shellcheck source=tests/system/machines.sh
. tests/system/machines.sh

# Unpacked, not configured: nothing of another processor has to run here. Python needs no more.
make_system() {
    system=$cache/pi3-$(key tests/system/machines.sh "$0" setup.cfg constraints.txt)
    ! is_cached "$system" || return 0
    say 'Making a Debian 12 for the emulated Raspberry Pi (once, about a minute)'
    fetch_packages aarch64
    mkdir "$work/system"
    root=$work/system/root
    quietly mmdebstrap --quiet --mode=root --variant=extract --arch=arm64 \
        --include=linux-image-arm64,base-files,python3,dash,coreutils,mount,iproute2,kmod,util-linux \
        bookworm "$root"
    cp "$root"/boot/vmlinuz-* "$work/system/vmlinuz"
    cp "$root"/usr/lib/linux-image-*/broadcom/bcm2837-rpi-3-b.dtb "$work/system/pi3.dtb"
    # As the Pi's own firmware does, and gpiozero needs. a02082 is a Pi 3B.
    fdtput -c "$work/system/pi3.dtb" /system
    fdtput -t x "$work/system/pi3.dtb" /system linux,revision a02082
    find "$root/lib/modules" -name bcm2835_wdt.ko -exec cp {} "$root/" \;
    rm -rf "$root"/boot "$root"/lib/modules "$root"/usr/lib/linux-image-* "$root"/usr/share/doc \
        "$root"/usr/share/locale "$root"/usr/share/man "$root"/var/cache "$root"/var/lib/apt
    quietly "$python" -m pip install --quiet --no-compile --no-index --only-binary=:all: \
        --python-version 3.11 --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 \
        --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 \
        --target "$root/opt/sensor-agent" "$work"/wheels/*
    keep "$work/system" "$system"
}

make_image() {
    root=$work/root
    cp -a "$system/root" "$root"
    mkdir -p "$work/project"
    build_project "$work/project"
    quietly "$python" -m pip install --quiet --no-compile --no-index --no-deps \
        --target "$root/opt/sensor-agent" "$work"/project/*.whl
    copy_tests "$root/checks" pi3
    install -m 755 "$here/init.sh" "$root/init"
    printf '%s\n' "$@" >"$root/checks/arguments"
    pack "$root"
}

make_work_directory
make_system
make_image "$@"
say 'Starting an emulated Raspberry Pi 3B under QEMU'
run_machine qemu-system-aarch64 -M raspi3b -m 1G -kernel "$system/vmlinuz" -dtb "$system/pi3.dtb" \
    -append 'console=ttyAMA0,115200 panic=1 quiet'

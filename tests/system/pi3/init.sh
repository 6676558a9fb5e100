#!/bin/sh
# The first and only program of the emulated Raspberry Pi: runs the tests, and switches it off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CI=true PYTHONPATH=/opt/sensor-agent
mkdir -p /proc /sys /run /root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t debugfs debug /sys/kernel/debug
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
dmesg --console-level 1 # The console is for the tests.
ip link set lo up
insmod /bcm2835_wdt.ko # Switches off.
date -s 2026-11-01 >/dev/null # It has no clock, and certificates have a first day.

cd /checks
printf '\nCHECKS BEGIN\n'
IFS='
' # One argument a line.
# shellcheck disable=SC2046
python3 -m pytest -p no:cacheprovider --timeout 900 --color no tests/system/pi3 $(cat arguments)
echo "CHECKS END $?"
echo o >/proc/sysrq-trigger
sleep 60

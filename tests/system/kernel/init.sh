#!/bin/sh
# The first and only program of the virtual machine: sets up its board, runs the tests, switches off.
export PATH=/opt/sensor-agent/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CI=true
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tracefs tracing /sys/kernel/tracing
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
dmesg --console-level 1 # The console is for the tests.
ip link set lo up
for module in configfs industrialio gpio-sim; do
    insmod "/modules/$module.ko"
done
mount -t configfs config /sys/kernel/config
# The header's chip, by the name and size it has on a Raspberry Pi 2 or 3.
bank=/sys/kernel/config/gpio-sim/pi/bank
mkdir -p "$bank"
echo 54 >"$bank/num_lines"
echo pinctrl-bcm2835 >"$bank/label"
echo 1 >"${bank%/bank}/live"
insmod /modules/dht11.ko
insmod /modules/dhtsim.ko
# The drivers of sensors on I2C. Their tests declare the sensors on the bus of i2csim.
for module in i2c-dev kfifo_buf industrialio-triggered-buffer crc8 regmap-i2c bmp280 bmp280-i2c sht21 \
    sht3x sht4x aht10 hdc100x htu21 si7020 i2csim; do
    # Some are built in.
    [ ! -f "/modules/$module.ko" ] || insmod "/modules/$module.ko"
done
# By the revision in there (a Pi 3B's), gpiozero knows a Raspberry Pi.
cp /proc/cpuinfo /run/cpuinfo
printf 'Revision\t: a02082\n' >>/run/cpuinfo
mount --bind /run/cpuinfo /proc/cpuinfo

cd /checks
printf '\nCHECKS BEGIN\n'
IFS='
' # One argument a line.
# shellcheck disable=SC2046
python3 -m pytest -p no:cacheprovider --timeout 600 --color no tests/system/kernel $(cat arguments)
echo "CHECKS END $?"
echo o >/proc/sysrq-trigger
sleep 60

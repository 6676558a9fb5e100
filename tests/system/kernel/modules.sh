#!/bin/sh
# Run in a Debian 12 made for it, with the kernel's headers in it: fetches the kernel and its source
# as packages of the very version of the headers, and builds what Debian's kernel leaves out (gpio-sim,
# dht11 and drivers of sensors on I2C), the simulated DHT, the simulated I2C bus and the
# device of 1-Wire. Sources in /modules, results in /modules/out.
set -eu
cd /modules

abi=$(basename /lib/modules/*)
version=$(dpkg-query -W -f '${Version}' "linux-headers-$abi")
source=linux-source-${abi%%.0-*}
apt-get download -q "linux-image-$abi=$version" "$source=$version"

dpkg-deb -x linux-image-*.deb image
dpkg-deb --fsys-tarfile "$source"_*.deb | tar -xO "./usr/src/$source.tar.xz" |
    tar -xJ --strip-components=1 --wildcards '*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib.h' \
        '*/drivers/iio/humidity/*.c' '*/drivers/iio/common/ms_sensors/*' '*/drivers/hwmon/aht10.c' \
        '*/kernel/irq/irq_sim.c'
cp drivers/gpio/gpio-sim.c gpio-sim-main.c
cp drivers/gpio/gpiolib.h drivers/iio/humidity/dht11.c drivers/iio/humidity/hdc100x.c \
    drivers/iio/humidity/si7020.c drivers/hwmon/aht10.c drivers/iio/common/ms_sensors/ms_sensors_i2c.* .
sed 's|"../common/ms_sensors/|"|' drivers/iio/humidity/htu21.c >htu21-main.c
# A module can reach neither irq_to_desc nor a need for other modules to use this part of its own.
sed -e 's/irq_to_desc(irqnum)/irq_data_to_desc(irq_get_irq_data(irqnum))/' -e '/^EXPORT_SYMBOL/d' \
    kernel/irq/irq_sim.c >irq_sim.c
make -C "/lib/modules/$abi/build" M="$PWD" modules

mkdir out
cp "image/boot/vmlinuz-$abi" out/vmlinuz
for module in configfs industrialio kfifo_buf industrialio-triggered-buffer crc8 regmap-i2c \
    i2c-dev bmp280 bmp280-i2c sht21 sht3x sht4x w1-gpio wire; do
    # Some are built in.
    find "image/lib/modules/$abi" -name "$module.ko" -exec cp {} out/ \;
done
cp ./*.ko out/
echo "$version" >out/version

/*
 * The device that dtoverlay=w1-gpio makes on a Raspberry Pi, for Debian's own w1-gpio driver: 1-Wire
 * on line 4 of the chip pinctrl-bcm2835, requested under the name onewire@4.
 */
#include <linux/gpio/machine.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/w1-gpio.h>

#define NAME "onewire@4"

static struct platform_device *device;

static struct gpiod_lookup_table lines = {
	.dev_id = NAME,
	.table = {
		GPIO_LOOKUP_IDX("pinctrl-bcm2835", 4, NULL, 0, GPIO_ACTIVE_HIGH),
		{ }
	},
};

static int __init start(void)
{
	struct w1_gpio_platform_data data = { };
	int status = -ENOMEM;

	gpiod_add_lookup_table(&lines);
	device = platform_device_alloc(NAME, PLATFORM_DEVID_NONE);
	if (!device)
		goto fail;
	device->driver_override = kstrdup("w1-gpio", GFP_KERNEL);
	status = platform_device_add_data(device, &data, sizeof(data));
	if (!status)
		status = platform_device_add(device);
	if (!status)
		return 0;
	platform_device_put(device);
fail:
	gpiod_remove_lookup_table(&lines);
	return status;
}

static void __exit stop(void)
{
	platform_device_unregister(device);
	gpiod_remove_lookup_table(&lines);
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");

/*
 * A GPIO chip of one line, with a DHT22 on it made of software, and the device that the kernel's
 * dht11 driver binds to. For a virtual machine that counts instructions (QEMU's -icount): there a
 * microsecond is exact.
 *
 * Unlike a real DHT22, which answers 20 to 40 us after the start pulse whether or not anybody
 * listens, this one answers when the reader has enabled its interrupt. So it shows that frames
 * are decoded and errors told, and not that a reader is quick enough.
 *
 * Parameters, also while it runs (/sys/module/dhtsim/parameters): temp and rh in tenths, raw for
 * other four bytes if not 0 (a DHT11's), corrupt for a wrong checksum, mute for no answer.
 */
#include <linux/delay.h>
#include <linux/gpio/driver.h>
#include <linux/gpio/machine.h>
#include <linux/interrupt.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/workqueue.h>

#include <asm/unaligned.h>

#define START_US 500 /* A low of the host this long asks for an answer. */

static int temp = 215;
module_param(temp, int, 0644);
static int rh = 456;
module_param(rh, int, 0644);
static uint raw;
module_param(raw, uint, 0644);
static bool corrupt;
module_param(corrupt, bool, 0644);
static bool mute;
module_param(mute, bool, 0644);
static int answers;
module_param(answers, int, 0444);

static struct gpio_chip chip;
static struct platform_device *reader;
static int level = 1; /* Pulled up. */
static bool is_output;
static bool is_asked;
static ktime_t low_since;

static void edge(int to, unsigned long us)
{
	level = to;
	generic_handle_irq_safe(irq_find_mapping(chip.irq.domain, 0));
	udelay(us);
}

static void answer(struct work_struct *work)
{
	unsigned int magnitude = temp < 0 ? 0x8000 | -temp : temp;
	u8 frame[5] = { rh >> 8, rh, magnitude >> 8, magnitude };
	unsigned long flags;
	int bit;

	if (raw)
		put_unaligned_be32(raw, frame);
	frame[4] = frame[0] + frame[1] + frame[2] + frame[3] + corrupt;
	local_irq_save(flags);
	edge(0, 80);
	edge(1, 80);
	for (bit = 0; bit < 40; bit++) {
		edge(0, 50);
		edge(1, frame[bit / 8] & (0x80 >> bit % 8) ? 70 : 26);
	}
	edge(0, 50);
	edge(1, 0);
	local_irq_restore(flags);
	answers++;
}
static DECLARE_WORK(work, answer);

static int get_direction(struct gpio_chip *gc, unsigned int line)
{
	return is_output ? GPIO_LINE_DIRECTION_OUT : GPIO_LINE_DIRECTION_IN;
}

static int get(struct gpio_chip *gc, unsigned int line)
{
	return level;
}

static void set(struct gpio_chip *gc, unsigned int line, int value)
{
	if (level && !value)
		low_since = ktime_get();
	level = value;
}

static int direction_output(struct gpio_chip *gc, unsigned int line, int value)
{
	is_output = true;
	set(gc, line, value);
	return 0;
}

static int direction_input(struct gpio_chip *gc, unsigned int line)
{
	is_asked = is_output && !level && ktime_us_delta(ktime_get(), low_since) >= START_US;
	is_output = false;
	level = 1;
	return 0;
}

static void irq_mask(struct irq_data *data)
{
	gpiochip_disable_irq(&chip, irqd_to_hwirq(data));
}

static void irq_unmask(struct irq_data *data)
{
	gpiochip_enable_irq(&chip, irqd_to_hwirq(data));
	if (is_asked && !mute)
		schedule_work(&work);
	is_asked = false;
}

static int irq_set_type(struct irq_data *data, unsigned int type)
{
	return 0; /* Both edges, always. */
}

static const struct irq_chip irq_chip = {
	.name = "dhtsim",
	.irq_mask = irq_mask,
	.irq_unmask = irq_unmask,
	.irq_set_type = irq_set_type,
	.flags = IRQCHIP_IMMUTABLE,
	GPIOCHIP_IRQ_RESOURCE_HELPERS,
};

static struct gpiod_lookup_table wiring = {
	.dev_id = "dht11",
	.table = { GPIO_LOOKUP("dhtsim", 0, NULL, GPIO_ACTIVE_HIGH), { } },
};

static int __init dhtsim_init(void)
{
	int error;

	chip.label = "dhtsim";
	chip.owner = THIS_MODULE;
	chip.base = -1;
	chip.ngpio = 1;
	chip.get_direction = get_direction;
	chip.direction_input = direction_input;
	chip.direction_output = direction_output;
	chip.get = get;
	chip.set = set;
	gpio_irq_chip_set_chip(&chip.irq, &irq_chip);
	chip.irq.handler = handle_simple_irq;
	chip.irq.default_type = IRQ_TYPE_NONE;
	error = gpiochip_add_data(&chip, NULL);
	if (error)
		return error;
	gpiod_add_lookup_table(&wiring);
	reader = platform_device_register_simple("dht11", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(reader)) {
		gpiod_remove_lookup_table(&wiring);
		gpiochip_remove(&chip);
	}
	return PTR_ERR_OR_ZERO(reader);
}
module_init(dhtsim_init);

static void __exit dhtsim_exit(void)
{
	platform_device_unregister(reader);
	cancel_work_sync(&work);
	gpiod_remove_lookup_table(&wiring);
	gpiochip_remove(&chip);
}
module_exit(dhtsim_exit);

MODULE_DESCRIPTION("A simulated DHT22 or DHT11");
MODULE_LICENSE("Dual MIT/GPL");

/*
 * An I2C bus made of software, whose chips answer as they are told: for the kernel's drivers of
 * sensors. Not every driver works with i2c-stub, which knows SMBus only and cannot be unplugged.
 *
 * Written to /sys/module/i2csim/parameters/tell, in hexadecimal: "44 2400 BEEF92" has the chip at
 * address 0x44 answer BEEF92 to a read after the command 2400, and acknowledge all it is written.
 * A read may begin within the registers of a longer answer: after "76 88 ..." also from 0x89.
 * "44" alone unplugs the chip.
 */
#include <linux/i2c.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#define LONGEST 64

struct answer {
	u8 address;
	int command_length, length;
	u8 command[4], bytes[LONGEST];
};

static struct answer answers[64];
static int count;
static u8 last[128][4]; /* The last command to each address. */
static int last_length[128];
static DEFINE_MUTEX(lock);

static bool is_plugged(u16 address)
{
	int i;

	for (i = 0; i < count; i++)
		if (answers[i].address == address)
			return true;
	return false;
}

/* The answer to the last command, or else the one whose registers the command is within. */
static struct answer *find(u16 address)
{
	u8 *command = last[address];
	struct answer *within = NULL;
	int i;

	for (i = 0; i < count; i++) {
		struct answer *one = &answers[i];

		if (one->address != address || one->command_length != last_length[address])
			continue;
		if (!memcmp(one->command, command, one->command_length))
			return one;
		if (one->command_length == 1 && command[0] > one->command[0] &&
		    command[0] < one->command[0] + one->length)
			within = one;
	}
	return within;
}

static void answer(u16 address, u8 *to, int length)
{
	struct answer *one = find(address);
	int offset;

	memset(to, 0xff, length); /* The pull-up resistors. */
	if (!one)
		return;
	offset = last[address][0] - one->command[0];
	memcpy(to, one->bytes + offset, min(length, one->length - offset));
}

static int transfer(struct i2c_adapter *adapter, struct i2c_msg *messages, int number)
{
	int i, result = number;

	mutex_lock(&lock);
	for (i = 0; i < number; i++) {
		struct i2c_msg *one = &messages[i];

		if (one->addr >= 128 || !is_plugged(one->addr)) {
			result = -EREMOTEIO;
			break;
		}
		if (one->flags & I2C_M_RD) {
			answer(one->addr, one->buf, one->len);
		} else if (one->len) {
			last_length[one->addr] = min_t(int, one->len, sizeof(last[0]));
			memcpy(last[one->addr], one->buf, last_length[one->addr]);
		}
	}
	mutex_unlock(&lock);
	return result;
}

static u32 functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL;
}

static const struct i2c_algorithm algorithm = {
	.master_xfer = transfer,
	.functionality = functionality,
};

static struct i2c_adapter adapter = {
	.owner = THIS_MODULE,
	.algo = &algorithm,
	.name = "i2csim",
	.nr = 1,
};

static void forget(u8 address, const struct answer *command)
{
	int i;

	for (i = count - 1; i >= 0; i--)
		if (answers[i].address == address &&
		    (!command || (answers[i].command_length == command->command_length &&
				  !memcmp(answers[i].command, command->command, 4))))
			answers[i] = answers[--count];
}

static int tell(const char *text, const struct kernel_param *parameter)
{
	struct answer told = {};
	char *copy = kstrdup(text, GFP_KERNEL), *rest = copy, *address, *command, *bytes;
	int error = -EINVAL;

	if (!copy)
		return -ENOMEM;
	address = strsep(&rest, " \n");
	command = rest ? strsep(&rest, " \n") : NULL;
	bytes = rest ? strsep(&rest, " \n") : NULL;
	if (!address || kstrtou8(address, 16, &told.address) || told.address >= 128)
		goto out;
	mutex_lock(&lock);
	if (!command || !*command) {
		forget(told.address, NULL);
		error = 0;
	} else if (bytes && strlen(command) <= 8 && strlen(bytes) <= 2 * LONGEST) {
		told.command_length = strlen(command) / 2;
		told.length = strlen(bytes) / 2;
		error = hex2bin(told.command, command, told.command_length);
		error = error ?: hex2bin(told.bytes, bytes, told.length);
		if (!error) {
			forget(told.address, &told);
			if (count < ARRAY_SIZE(answers))
				answers[count++] = told;
			else
				error = -ENOSPC;
		}
	}
	mutex_unlock(&lock);
out:
	kfree(copy);
	return error;
}

static const struct kernel_param_ops tell_ops = { .set = tell };
module_param_cb(tell, &tell_ops, NULL, 0200);

static int __init i2csim_init(void)
{
	return i2c_add_numbered_adapter(&adapter);
}
module_init(i2csim_init);

static void __exit i2csim_exit(void)
{
	i2c_del_adapter(&adapter);
}
module_exit(i2csim_exit);

MODULE_DESCRIPTION("A simulated I2C bus");
MODULE_LICENSE("Dual MIT/GPL");

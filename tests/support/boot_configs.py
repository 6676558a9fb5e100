"""Shapes of config.txt as people have them, and what follows from each on a Raspberry Pi 4.

The sensor is on GPIO 4, the LED on GPIO 27. `pins` are those for which the firmware loads the
kernel's dht11 driver in any case, and `users` the lines of the file that give GPIO 4 to something
else.
"""

from dataclasses import dataclass, field
from typing import Any

from examinations import raspberry_pi, write

from hw import boot_config
from hw.boot_config import BootConfig

BOOKWORM = """\
# For more options and information see
# http://rptl.io/configtxt
# Some settings may impact device functionality. See link above for details

# Uncomment some or all of these to enable the optional hardware interfaces
#dtparam=i2c_arm=on
#dtparam=i2s=on
#dtparam=spi=on

# Enable audio (loads snd_bcm2835)
dtparam=audio=on

# Additional overlays and parameters are documented
# /boot/firmware/overlays/README

# Automatically load overlays for detected cameras
camera_auto_detect=1

# Automatically load overlays for detected DSI displays
display_auto_detect=1

# Automatically load initramfs files, if found
auto_initramfs=1

# Enable DRM VC4 V3D driver
dtoverlay=vc4-kms-v3d
max_framebuffers=2

# Don't have the firmware create an initial video= setting in cmdline.txt.
# Use the kernel's default instead.
disable_fw_kms_setup=1

# Run in 64-bit mode
arm_64bit=1

# Disable compensation for displays with overscan
disable_overscan=1

# Run as fast as firmware / board allows
arm_boost=1

[cm4]
# Enable host mode on the 2711 built-in XHCI USB controller.
# This line should be removed if the legacy DWC2 controller is required
# (e.g. for USB device mode) or if USB support is not required.
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
"""
"""Raspberry Pi OS bookworm, since the Compute Module 5. Trixie has the same."""

BULLSEYE = """\
# Uncomment this to enable infrared communication.
#dtoverlay=gpio-ir,gpio_pin=17
#dtoverlay=gpio-ir-tx,gpio_pin=18

# Enable audio (loads snd_bcm2835)
dtparam=audio=on
camera_auto_detect=1
display_auto_detect=1
dtoverlay=vc4-kms-v3d
max_framebuffers=2
disable_overscan=1

[cm4]
otg_mode=1

[all]

[pi4]
# Run as fast as firmware / board allows
arm_boost=1

[all]
"""

UBUNTU = """\
[all]
kernel=vmlinuz
cmdline=cmdline.txt
initramfs initrd.img followkernel

[pi4]
max_framebuffers=2
arm_boost=1

[all]
dtparam=audio=on
dtparam=i2c_arm=on
dtparam=spi=on
disable_overscan=1
dtoverlay=dwc2

[pi4]
dtoverlay=vc4-kms-v3d

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
"""


@dataclass(frozen=True)
class Shape:
    content: bytes
    pins: tuple[int, ...] = ()
    users: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)  # Beside the file.


def shape(text: str | bytes, **expected: Any) -> Shape:
    return Shape(text.encode() if isinstance(text, str) else text, **expected)


LOADED = "dtoverlay=dht11\n"
ONE_WIRE = "dtoverlay=w1-gpio\n"

SHAPES = {
    "empty": shape(""),
    "bookworm": shape(BOOKWORM),
    "trixie": shape(BOOKWORM.replace("[all]\n", "[all]\nenable_uart=1\n")),
    "bullseye": shape(BULLSEYE),
    "ubuntu": shape(UBUNTU),
    "bookworm after raspi-config's 1-Wire": shape(
        BOOKWORM + ONE_WIRE, users=("dtoverlay=w1-gpio",)
    ),
    "bookworm with a fan on GPIO 14": shape(
        f"{BOOKWORM}dtoverlay=gpio-fan,gpiopin=14,temp=60000\n"
    ),
    "bookworm by hand": shape(f"{BOOKWORM}dtoverlay=dht11,gpiopin=4\n", pins=(4,)),
    "the default pin": shape(LOADED, pins=(4,)),
    "another pin": shape("dtoverlay=dht11,gpiopin=17\n", pins=(17,)),
    "a pin that only begins like ours": shape("dtoverlay=dht11,gpiopin=44\n", pins=(44,)),
    "a hexadecimal pin": shape("dtoverlay=dht11,gpiopin=0x11\n", pins=(17,)),
    "two sensors": shape("dtoverlay=dht11,gpiopin=4\ndtoverlay=dht11,gpiopin=22\n", pins=(4, 22)),
    "the last value of a parameter": shape("dtoverlay=dht11,gpiopin=17,gpiopin=4\n", pins=(4,)),
    "a parameter on its own line": shape("dtoverlay=dht11\ndtparam=gpiopin=17\n", pins=(17,)),
    "a parameter after another section": shape(
        "dtoverlay=dht11\n[cm5]\ndtparam=gpiopin=22\n[all]\ndtparam=gpiopin=17\n", pins=(17,)
    ),
    "a parameter of the next overlay": shape(
        "dtoverlay=dht11\ndtoverlay=gpio-fan\ndtparam=gpiopin=17\n", pins=(4,)
    ),
    "a parameter after the end of the overlay": shape(
        "dtoverlay=dht11\ndtoverlay=\ndtparam=gpiopin=17\n", pins=(4,)
    ),
    "a parameter without an overlay": shape("dtparam=gpiopin=4\ndtparam=dht11,gpiopin=4\n"),
    "the older form with a colon": shape("dtoverlay=dht11:gpiopin=17\n", pins=(17,)),
    "the long names": shape(
        "device_tree_overlay=dht11\ndevice_tree_param=gpiopin=17\n", pins=(17,)
    ),
    "a comment": shape("#dtoverlay=dht11,gpiopin=4\n  # dtoverlay=w1-gpio\n"),
    "a comment behind a parameter": shape("dtoverlay=dht11,gpiopin=17 # shed\n", pins=(17,)),
    "a comment behind an overlay": shape("dtoverlay=dht11 # shed\ndtoverlay=w1-gpio # no\n"),
    "space at the beginning and end": shape(" \tdtoverlay=dht11,gpiopin=4 \t\n", pins=(4,)),
    "space around the sign": shape("dtoverlay = dht11\ndtoverlay= w1-gpio\n"),
    "another case": shape("DTOVERLAY=dht11\ndtoverlay=DHT11\n"),
    "longer names": shape("dtoverlay=dht110\ndtoverlay=dht11-other\nmy_dtoverlay=dht11\n"),
    "no end of the last line": shape(f"dtparam=audio=on\n{LOADED.strip()}", pins=(4,)),
    "line ends of Windows": shape(
        b"[all]\r\ndtoverlay=dht11\r\ndtparam=gpiopin=17\r\n", pins=(17,)
    ),
    "a byte order mark before a comment": shape(
        b"\xef\xbb\xbf# mine\ndtoverlay=dht11\n", pins=(4,)
    ),
    "a byte order mark before the overlay": shape(b"\xef\xbb\xbfdtoverlay=dht11\n"),
    "bytes that are not UTF-8": shape(b"# K\xfcche \xff\ndtoverlay=dht11\n", pins=(4,)),
    "zeros after a power cut": shape(LOADED.encode() + b"\0" * 64, pins=(4,)),
    "a long line": shape(f"dtoverlay=dht11,a={'x' * 69},gpiopin=17{'7' * 20}\n", pins=(17,)),
    "a parameter after 98 characters": shape(
        f"dtoverlay=dht11,a={'x' * 90},gpiopin=17\n", pins=(4,)
    ),
    "another board's section": shape(f"[cm5]\n{LOADED}[pi5]\n{ONE_WIRE}"),
    "this board's section": shape(f"[pi5]\n[pi4]\n{LOADED}", pins=(4,)),
    "a keyboard's section": shape(f"[pi400]\n{LOADED}"),
    "a section for no board": shape(f"[none]\n{LOADED}[pi4]\n{ONE_WIRE}"),
    "a section for every board": shape(f"[none]\n{ONE_WIRE}[all]\n{LOADED}", pins=(4,)),
    "this board's type": shape(
        f"[board-type=0x14]\n{ONE_WIRE}[board-type=0x11]\n{LOADED}", pins=(4,)
    ),
    "this board's serial number": shape(f"[0xabcd1234]\n{LOADED}[0x1]\n{ONE_WIRE}", pins=(4,)),
    "sections of two kinds": shape(f"[0x1]\n[pi4]\n{ONE_WIRE}"),
    "a section that is undefined": shape(f"[pi4]\n[shed]\n{LOADED}", pins=(4,)),
    "a display's section": shape(f"[HDMI:1]\n{LOADED}", pins=(4,)),
    "a test start": shape(f"[tryboot]\n{ONE_WIRE}"),
    "the state of a line": shape(f"[gpio5=1]\n{LOADED}"),
    "a monitor": shape(f"[EDID=DEL-DELL_U2422H]\n{LOADED}"),
    "a boot partition": shape(f"[boot_partition=2]\n{LOADED}[boot_partition=3]\n{LOADED}"),
    "a parameter for the state of a line": shape(f"{LOADED}[gpio5=1]\ndtparam=gpiopin=17\n"),
    "a section that is not closed": shape(f"[cm4\n{LOADED}"),
    "an included file": shape(
        "include extra.txt\ndtparam=gpiopin=17\n", files={"extra.txt": LOADED}, pins=(17,)
    ),
    "an included file of another board": shape(
        "[pi5]\ninclude extra.txt\n", files={"extra.txt": f"[all]\n{LOADED}"}
    ),
    "a section that an included file leaves": shape(
        f"include extra.txt\n{LOADED}", files={"extra.txt": "[pi5]\n"}
    ),
    "a file that includes itself": shape(f"include config.txt\n{LOADED}", pins=(4,) * 9),
    "an included file that is missing": shape(f"include extra.txt\n{LOADED}", pins=(4,)),
    "1-Wire on another line": shape(f"dtoverlay=w1-gpio,gpiopin=17\n{LOADED}", pins=(4,)),
    "1-Wire and the driver": shape(
        f"{ONE_WIRE}dtoverlay=dht11,gpiopin=4\n", pins=(4,), users=("dtoverlay=w1-gpio",)
    ),
    "1-Wire with its pull-up on GPIO 4": shape(
        "dtoverlay=w1-gpio-pullup,gpiopin=22,extpullup=4\n",
        users=("dtoverlay=w1-gpio-pullup,gpiopin=22,extpullup=4",),
    ),
    "a rotary encoder": shape("dtoverlay=rotary-encoder\n", users=("dtoverlay=rotary-encoder",)),
    "a fan moved to GPIO 4": shape(
        "dtoverlay=gpio-fan\ndtparam=temp=60000,gpiopin=4\n", users=("dtoverlay=gpio-fan",)
    ),
    "a serial port with the default pin": shape(
        "dtoverlay=uart3,ctsrts\n", users=("dtoverlay=uart3,ctsrts",)
    ),
    "a second I2C bus": shape("dtoverlay=i2c3\n", users=("dtoverlay=i2c3",)),
    "a second I2C bus on other lines": shape("dtoverlay=i2c3,pins_2_3\n"),
    "a second I2C bus moved to GPIO 4": shape(
        "dtoverlay=i2c1-pi5\ndtoverlay=i2c3\ndtparam=pins_4_5\n", users=("dtoverlay=i2c3",)
    ),
    "the fourth SPI bus": shape("dtoverlay=spi4-1cs\n", users=("dtoverlay=spi4-1cs",)),
    "a parallel display": shape(
        "dtoverlay=dpi24\ndtoverlay=vc4-kms-dpi-panel\n",
        users=("dtoverlay=dpi24", "dtoverlay=vc4-kms-dpi-panel"),
    ),
    "overlays of a Pi 5": shape("dtoverlay=uart2-pi5\ndtoverlay=i2c2-pi5\n"),
    "an amplifier and a clock": shape("dtoverlay=hifiberry-dac\ndtoverlay=i2c-rtc,ds3231\n"),
    "the lines of SPI": shape("dtparam=spi=on\ndtoverlay=spi1-2cs\n"),
}


def load(root: Any) -> BootConfig:
    """Return what the file of this machine says; it has one."""
    boot = boot_config.load(root)
    assert boot is not None
    return boot


def board_with(root: Any, one: Shape) -> Any:
    """Make `root` a Raspberry Pi 4 with this file. Returns its path."""
    raspberry_pi(root)
    write(root, "proc/device-tree/serial-number", "10000000abcd1234\0")
    revision = root / "proc/device-tree/system/linux,revision"
    revision.parent.mkdir(exist_ok=True)
    revision.write_bytes((0xD03115).to_bytes(4, "big"))
    file = write(root, "boot/firmware/config.txt", "")
    file.write_bytes(one.content)
    for name, text in one.files.items():
        write(root, f"boot/firmware/{name}", text)
    write(root, "boot/firmware/overlays/dht11.dtbo", "")
    return file

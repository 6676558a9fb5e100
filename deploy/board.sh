# What install.sh and uninstall.sh do to the board: the group's access to GPIO, the kernel's driver.
# shellcheck shell=sh

boot=/boot/firmware/config.txt
begin="# begin sensor-agent"
end="# end sensor-agent"

# The kernel's driver wants less and reads better; Adafruit's is for systems that do not have it.
proposed_driver() {
    if [ -e "$(dirname "$boot")/overlays/dht11.dtbo" ] || kernel_has_sensor; then
        echo kernel
    else
        echo "${model:-dht22}"
    fi
}

has_gpio() {
    grep -qs 'Raspberry Pi' /proc/device-tree/model /proc/cpuinfo && ls /dev/gpiochip* >/dev/null 2>&1
}

kernel_has_sensor() {
    cat /sys/bus/iio/devices/*/name 2>/dev/null | grep -q '^dht11'
}

give_group_gpio() {
    for rules in /etc/udev/rules.d /run/udev/rules.d /usr/local/lib/udev/rules.d /usr/lib/udev/rules.d; do
        for rule in "$rules"/*.rules; do
            if [ "$rule" != "$gpio_rule" ] && grep -qs 'SUBSYSTEM=="gpio".*GROUP="gpio"' "$rule"; then
                return
            fi
        done
    done
    if ! cmp -s deploy/60-sensor-agent.rules "$gpio_rule"; then
        undo_with apply_rules
        put 644 root:root "$gpio_rule" <deploy/60-sensor-agent.rules
        apply_rules
    fi
}

apply_rules() {
    # In a container nobody listens; there the rule waits for the next start.
    if [ -S /run/udev/control ]; then
        run udevadm control --reload
        run udevadm trigger --settle --subsystem-match=gpio
    fi
}

# Has the kernel read the sensor on GPIO $1 from now on.
enable_kernel_driver() {
    if [ ! -e "$boot" ]; then
        kernel_has_sensor ||
            say "Note: there is no $boot; enable the kernel's dht11 on GPIO $1 as this system does it."
        return
    fi
    line="dtoverlay=dht11,gpiopin=$1"
    if has_overlay "$1" && kernel_has_sensor; then
        return
    fi
    if ! has_overlay "$1"; then
        { without_overlay && overlay; } >"$work/config.txt"
        say "Writing $line to $boot"
        keep "$boot"
        put_on_boot
    fi
    load_overlay "$1"
}

has_overlay() {
    [ "$1" = 4 ] && grep -qs '^[[:space:]]*dtoverlay=dht11[[:space:]]*$' "$boot" && return
    grep -Eqs "^[[:space:]]*dtoverlay=dht11,(.*,)?gpiopin=$1([,[:space:]]|\$)" "$boot"
}

# Our own lines go, whatever became of those around them: the owner may have lost a marker, or an
# editor on a PC changed the ends of lines. What stands behind them stays meant for every board.
without_overlay() {
    awk -v begin="$begin" -v end="$end" '
        { line = $0; sub(/\r$/, "", line) }
        line == begin { ours = 1; next }
        line == end { ours = 0; next }
        ours && line == "[all]" { owed = 1; next }
        ours && line ~ /^dtoverlay=dht11,gpiopin=[0-9]+$/ { next }
        { ours = 0 }
        line ~ /^\[/ { owed = 0 }
        owed && line != "" { print "[all]"; owed = 0 }
        { print }
    ' "$boot"
}

has_block() {
    tr -d '\r' 2>/dev/null <"$boot" | grep -qxF "$begin"
}

overlay() {
    # [all], because the lines before may be meant for one model of board alone.
    printf '%s\n' "$begin" '[all]' "$line" "$end"
}

# The boot partition is FAT: no owners, no links, and a power cut is the time to be careful.
put_on_boot() {
    run cp "$work/config.txt" "$boot.new"
    run sync "$boot.new"
    run mv "$boot.new" "$boot"
}

load_overlay() {
    say "Loading the kernel's dht11 driver for GPIO $1"
    if [ -n "$dry_run" ]; then
        run dtoverlay dht11 "gpiopin=$1"
    elif dtoverlay dht11 "gpiopin=$1" >"$work/log" 2>&1; then
        undo_with unload_overlay
    else
        say "That did not work ($(tail -n 1 "$work/log")); it takes a restart: sudo reboot"
    fi
}

unload_overlay() {
    say "    unloading the kernel's dht11 driver"
    dtoverlay -r dht11
}

# Where the sensor is read otherwise now, the line must not stay the kernel's.
give_line_back() {
    if has_block; then
        undo_with load_overlay "$(tr -d '\r' <"$boot" | sed -n "/^$begin\$/,/^$end\$/s/^dtoverlay=dht11,gpiopin=//p")"
        keep "$boot"
        disable_kernel_driver
    fi
}

disable_kernel_driver() {
    if has_block; then
        without_overlay >"$work/config.txt"
        say "Taking the kernel's driver out of $boot"
        put_on_boot
        if [ -n "$dry_run" ]; then
            run dtoverlay -r dht11
        elif kernel_has_sensor && ! dtoverlay -r dht11 >"$work/log" 2>&1; then
            say "It stays loaded until the next restart."
        fi
    fi
}

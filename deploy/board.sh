# What install.sh and uninstall.sh change on the board: access of the group gpio, the kernel's driver.
# shellcheck shell=sh

boot=/boot/firmware/config.txt
begin="# begin sensor-agent"
end="# end sensor-agent"

# The kernel's driver needs less processor time and misses fewer readings than Adafruit's.
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
    # In a container udev does not run: the rule applies from the next boot.
    if [ -S /run/udev/control ]; then
        run udevadm control --reload
        run udevadm trigger --settle --subsystem-match=gpio
    fi
}

# Makes the kernel read the sensor on GPIO $1, now and after each boot.
enable_kernel_driver() {
    if [ ! -e "$boot" ]; then
        kernel_has_sensor ||
            say "Note: this system has no $boot. Enable the kernel's dht11 driver on GPIO $1 yourself."
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

# Removes our own lines, even if the owner lost a marker or an editor on a PC changed the line ends.
# The lines after them still apply to every board.
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
    # [all], because the lines before may apply to one board model only.
    printf '%s\n' "$begin" '[all]' "$line" "$end"
}

# The boot partition is FAT: it has no owners and no links, and a power cut must not damage the file.
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
        say "Cannot load the driver now ($(tail -n 1 "$work/log")). Restart the machine: sudo reboot"
    fi
}

unload_overlay() {
    say "    unloading the kernel's dht11 driver"
    dtoverlay -r dht11
}

# If another driver reads the sensor, the kernel must release the line.
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
        say "Removing the kernel's driver from $boot"
        put_on_boot
        if [ -n "$dry_run" ]; then
            run dtoverlay -r dht11
        elif kernel_has_sensor && ! dtoverlay -r dht11 >"$work/log" 2>&1; then
            say "The driver stays loaded until the next restart of the machine."
        fi
    fi
}

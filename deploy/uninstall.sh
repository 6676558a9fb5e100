#!/bin/sh
# Takes the service off this machine again. Needs root.
#
#   sudo sh deploy/uninstall.sh            all but the configuration and the readings that wait
#   sudo sh deploy/uninstall.sh --purge    those too, and the user
#   ... --dry-run                          only says what it would do
set -eu
cd "$(dirname "$0")/.."

. deploy/steps.sh
. deploy/board.sh

purge=
for option in "$@"; do
    case $option in
    --purge) purge=yes ;;
    --dry-run) dry_run=yes ;;
    *)
        printf '%s\n' "usage: sudo sh deploy/uninstall.sh [--purge] [--dry-run]" >&2
        exit 2
        ;;
    esac
done
must_be_root

main() {
    if is_there $unit; then
        say "Stopping the service"
        run systemctl --quiet disable --now $service
        if systemctl --quiet is-failed $service 2>/dev/null; then
            run systemctl reset-failed $service # Else systemd goes on listing it.
        fi
    fi
    disable_kernel_driver
    for file in $unit $additions/adafruit.conf $additions/clock.conf $command $gpio_rule $programs; do
        take_away "$file"
    done
    if [ -n "$purge" ]; then
        take_away $additions
    elif [ -d $additions ]; then # With what the owner may have added.
        run rmdir --ignore-fail-on-non-empty $additions
    fi
    if is_there $catalogue; then
        take_away $catalogue
        run journalctl --update-catalog
    fi
    run systemctl daemon-reload
    if [ -n "$purge" ]; then
        forget
    else
        say "Kept: $settings and /var/lib/$service; --purge removes them."
    fi
    say "Left: the packages from Debian and the group gpio, which others may use."
}

take_away() {
    if is_there "$1"; then
        say "Removing $1"
        run rm -rf "$1"
    fi
}

forget() {
    take_away $settings
    take_away /var/lib/$service
    if getent passwd $service >/dev/null; then
        say "Removing the user $service"
        run userdel $service
    fi
    # It stays behind where somebody was let into it.
    if [ -n "$dry_run" ] || getent group $service >/dev/null; then
        run groupdel $service
    fi
}

main

#!/bin/sh
# Removes the service from this machine. Needs root.
#
#   sudo sh deploy/uninstall.sh            keeps the configuration and the queued readings
#   sudo sh deploy/uninstall.sh --purge    removes them too, and the user
#   ... --dry-run                          only prints the steps
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
            run systemctl reset-failed $service # Otherwise systemd continues to list it.
        fi
    fi
    disable_kernel_driver
    for file in $unit $additions/adafruit.conf $additions/clock.conf $command $gpio_rule $programs; do
        delete "$file"
    done
    if [ -n "$purge" ]; then
        delete $additions
    elif [ -d $additions ]; then # Which may contain files of the owner's.
        run rmdir --ignore-fail-on-non-empty $additions
    fi
    if is_there $catalogue; then
        delete $catalogue
        run journalctl --update-catalog
    fi
    run systemctl daemon-reload
    if [ -n "$purge" ]; then
        forget
    else
        say "Kept: $settings and /var/lib/$service; --purge removes them."
    fi
    say "Kept: the packages from Debian and the group gpio, which other programs may use."
}

delete() {
    if is_there "$1"; then
        say "Removing $1"
        run rm -rf "$1"
    fi
}

forget() {
    delete $settings
    delete /var/lib/$service
    if getent passwd $service >/dev/null; then
        say "Removing the user $service"
        run userdel $service
    fi
    # userdel keeps a group that has other members.
    if [ -n "$dry_run" ] || getent group $service >/dev/null; then
        run groupdel $service
    fi
}

main

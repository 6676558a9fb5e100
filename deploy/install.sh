#!/bin/sh
# Installs sensor-agent as a service of this machine, or upgrades it. Needs root.
#
#   sudo make install                     asks for everything
#   sudo sh deploy/install.sh OPTION...   asks only for what has no default; --help lists the options
#
# The script prints every step. If one fails, it undoes the steps before it, and a service that was
# running continues to run.
set -eu
started_in=$PWD
cd "$(dirname "$0")/.."
umask 022

. deploy/steps.sh
. deploy/packages.sh
. deploy/board.sh
. deploy/answers.sh

main() {
    drop_python_variables
    parse "$@"
    must_be_root
    must_be_debian
    settle
    note_service
    install_packages
    make_user
    prepare_board
    make_program
    write_settings
    write_unit
    start
    let_caller_in
    sweep
    report
}

explain_failure=explain_no_download

# pip with --no-index uses no network, and names the missing wheel itself.
explain_no_download() {
    case " $* " in
    *" --no-index "*) return 1 ;;
    esac
    explain_download "$work/log" "$work/log.before" || return 1
    case " $* " in
    *run_pip.py*) echo "To install without a network, use --wheels DIR: see README.md." ;;
    esac
}

must_be_debian() {
    command -v apt-get >/dev/null || fail "The installer needs Raspberry Pi OS or Debian: this system has no apt-get."
    /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "/usr/bin/python3 must be Python 3.11 or later. Use Raspberry Pi OS or Debian 12 (bookworm) or later."
}

# Undone last, when the files are restored.
note_service() {
    was_active=$(systemctl is-active $service 2>/dev/null) || :
    was_enabled=$(systemctl is-enabled $service 2>/dev/null) || :
    undo_with service_as_before
}

service_as_before() {
    systemctl daemon-reload
    [ "$was_enabled" != enabled ] || systemctl --quiet enable $service
    case $was_active in
    active) patience= ;;
    activating) patience=--no-block ;; # It was not up before either: systemd keeps trying.
    *) return ;;
    esac
    if ! systemctl --quiet is-active $service; then # Otherwise no step has touched it.
        say "    starting the previous service"
        systemctl $patience start $service
    fi
}

install_packages() {
    missing=
    need python3-venv
    need python3-systemd
    # Raspberry Pi OS has this package. On other systems lgpio comes from a wheel.
    if [ "$led_driver" != fake ] && apt-cache show python3-lgpio >/dev/null 2>&1; then
        need python3-lgpio
    fi
    if [ -z "$missing" ]; then
        return
    fi
    say "Installing packages of the system:$missing"
    dpkg-query -W -f '${Package}\n' | sort >"$work/packages"
    undo_with remove_packages
    # On a new system the daily update may hold apt's lock.
    set -- env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
        install -q -y --no-install-recommends
    # shellcheck disable=SC2086 # These are several words.
    if [ -n "$dry_run" ] || ! "$@" $missing >"$work/log" 2>&1 </dev/null; then
        run apt-get update -q # The package lists may be old or missing.
        run "$@" $missing
    fi
}

need() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] || missing="$missing $1"
}

remove_packages() {
    added=$(dpkg-query -W -f '${Package}\n' | sort | comm -13 "$work/packages" -)
    if [ -n "$added" ]; then
        say "    removing the installed packages"
        # shellcheck disable=SC2086 # These are several words.
        DEBIAN_FRONTEND=noninteractive apt-get purge -q -y $added >/dev/null
    fi
}

make_user() {
    if ! getent group gpio >/dev/null; then
        say "Creating the group gpio"
        run groupadd --system gpio
        undo_with remove_group gpio
    fi
    if ! getent group $service >/dev/null; then
        say "Creating the group $service"
        run groupadd --system $service
        undo_with remove_group $service
    fi
    if ! getent passwd $service >/dev/null; then
        say "Creating the user $service"
        run useradd --system --gid $service --no-create-home --home-dir /var/lib/$service \
            --shell /usr/sbin/nologin $service
        undo_with remove_user $service
        # systemd creates this directory. An existing one may contain readings.
        [ -e /var/lib/$service ] || undo_with remove_tree /var/lib/$service
    fi
}

remove_group() {
    if getent group "$1" >/dev/null; then # userdel has removed the group of the same name.
        say "    removing the group $1"
        groupdel "$1"
    fi
}

remove_user() {
    say "    removing the user $1"
    userdel "$1"
}

prepare_board() {
    if [ "$driver $led_driver" != "fake fake" ]; then
        give_group_gpio
    fi
    if [ "$driver" = kernel ]; then
        enable_kernel_driver "$pin"
    else
        give_line_back
    fi
}

# Each version has its own directory, so that the old one works until the new one does.
make_program() {
    extra="[pi]"
    [ "$driver $led_driver" != "fake fake" ] || extra=
    program=$programs/$(fingerprint)
    if [ "$(readlink $programs/current)" = "$program" ] && "$program/bin/$service" --version >/dev/null 2>&1; then
        return
    fi
    changed=yes
    make_directory 755 root:root $programs
    say "Creating $program with $(/usr/bin/python3 -V)"
    undo_with remove_tree "$program"
    run rm -rf "$program"
    run /usr/bin/python3 -I -m venv --system-site-packages "$program"
    say "Installing the program (takes some minutes on a small board)"
    install_program
    run "$program/bin/$service" --version
    must_have_lgpio
    # A power cut must not leave half-written files that look like an installed program.
    run sync -f "$program"
    put_link "$program" $programs/current
}

# No package index has a wheel of lgpio for every Python and processor. The daemon would advise to
# install it into a directory that is removed when it does not start.
must_have_lgpio() {
    [ "$led_driver" != fake ] && [ -z "$dry_run" ] || return 0
    find='import importlib.util, sys; sys.exit(importlib.util.find_spec("lgpio") is None)'
    "$program/bin/python" -I -c "$find" ||
        fail "Cannot drive the LED: there is no lgpio for $(/usr/bin/python3 -V) on $(uname -m), neither as" \
            "the system's package python3-lgpio nor as a wheel. Raspberry Pi OS has the package."
}

# By content, not by time or version: a checkout also touches files that it does not change.
fingerprint() {
    {
        /usr/bin/python3 -V
        echo "$extra"
        if [ -n "$wheels" ]; then
            cat "$wheels"/*.whl | cksum
        else
            find agent central hw -type f ! -name '*.pyc' | LC_ALL=C sort | xargs cat | cksum
            cat setup.cfg pyproject.toml constraints.txt
        fi
    } | cksum | cut -d ' ' -f 1
}

install_program() {
    set -- "$program/bin/python" -I deploy/run_pip.py --no-cache-dir install
    ! is_taken_for_64_bit /usr/bin/python3 || set -- setarch linux32 "$@"
    if [ -n "$wheels" ]; then
        run "$@" --no-index --find-links "$wheels" "sensor-agent$extra"
    else
        # A copy, because the build writes beside the sources, as root.
        run mkdir "$work/source"
        run cp -r agent central hw setup.cfg pyproject.toml README.md LICENSE "$work/source"
        run "$@" --constraint constraints.txt "$work/source$extra"
    fi
}

# A 32-bit Raspberry Pi OS can have a 64-bit kernel, whose name makes pip choose adafruit-lgpio, which
# exists for 64 bits only. Python 3.11 and 3.12 do not need adafruit-lgpio.
is_taken_for_64_bit() {
    [ "$(dpkg --print-architecture)" = armhf ] &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 13))'
}

write_settings() {
    make_directory 750 root:$service $settings
    make_directory 700 root:root $settings/credentials
    put 640 root:$service $settings/config.toml <"$configuration"
    for secret in device.key device.connection; do
        [ ! -e "$work/$secret" ] || put 600 root:root $settings/credentials/$secret <"$work/$secret"
    done
    [ -z "$ca_file" ] || put 644 root:root $settings/ca.pem <"$ca_file"
}

write_unit() {
    sed "s|/usr/bin/$service |$programs/current/bin/$service |" deploy/sensor-agent.service >"$work/unit"
    put 644 root:root $unit <"$work/unit"
    make_directory 755 root:root $additions
    case $driver in
    dht22 | dht21 | dht11) put 644 root:root $additions/adafruit.conf <deploy/adafruit.conf ;;
    *) remove $additions/adafruit.conf ;;
    esac
    if systemctl is-enabled --quiet systemd-timesyncd 2>/dev/null; then
        remove $additions/clock.conf
    else
        put 644 root:root $additions/clock.conf <deploy/clock.conf
    fi
    if [ -e deploy/sensor-agent.catalog ]; then
        run mkdir -p "$(dirname $catalogue)"
        undo_with index_catalogue
        put 644 root:root $catalogue <deploy/sensor-agent.catalog
        run journalctl --update-catalog
    fi
    put_link $programs/current/bin/$service $command
}

start() {
    if [ -z "$changed" ] && [ "$was_active" = active ] && [ "$was_enabled" = enabled ] &&
        ! has_unread_settings; then
        say "Nothing has changed. The service continues to run."
        return
    fi
    say "Starting the service"
    undo_with stop
    run systemctl daemon-reload
    run systemctl --quiet enable $service
    if [ -z "$dry_run" ] && ! systemctl restart $service 2>"$work/log"; then
        cat "$work/log" >&2
        journalctl --quiet --no-pager --boot --unit $service --output cat --lines 10 >&2
        fail "The service does not start. Its last messages are above."
    fi
    [ -z "$dry_run" ] || run systemctl restart $service
}

# Whether a setting is newer than the daemon's socket, which the daemon creates when it starts.
has_unread_settings() {
    [ -n "$(find $settings -newer $socket 2>/dev/null)" ]
}

stop() {
    say "    stopping the service"
    systemctl --quiet disable --now $service
    systemctl reset-failed $service 2>/dev/null || :
}

# Lets `sensor-agent status`, `read` and `led` work without sudo.
let_caller_in() {
    caller=${SUDO_USER:-root}
    if [ "$caller" != root ] && ! id -nG "$caller" 2>/dev/null | grep -qwF $service; then
        say "Adding $caller to the group $service (takes effect at the next login)"
        set -- usermod --append --groups $service "$caller"
        if [ -n "$dry_run" ]; then
            run "$@"
        elif ! "$@" >"$work/log" 2>&1; then # For example a user from a directory service.
            say "Cannot add $caller ($(tail -n 1 "$work/log")). $caller needs sudo for sensor-agent status."
        fi
    fi
}

sweep() {
    for old in "$programs"/*; do
        if [ -d "$old" ] && [ ! -L "$old" ] && [ "$old" != "$program" ]; then
            say "Removing the previous version, $old"
            run rm -rf "$old"
        fi
    done
}

report() {
    [ -z "$dry_run" ] || { say "Nothing was changed." && return; }
    [ "$device_id" != - ] || device_id="the device of its connection string"
    say "sensor-agent runs as $device_id. Status: sudo sensor-agent status. Log: sudo journalctl -u $service"
    [ -z "$group_key_file" ] || [ "$group_key_file" = "$work/typed" ] ||
        is_centrals_key "$group_key_file" ||
        say "The service does not need the group key. Remove $group_key_file from this machine."
}

main "$@"

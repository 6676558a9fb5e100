# What install.sh and uninstall.sh share: print a step, do it, and undo it if a later step fails.
# shellcheck shell=sh
# shellcheck disable=SC2034 # Each of the two uses some of these names.

service=sensor-agent
settings=/etc/sensor-agent
programs=/opt/sensor-agent
command=/usr/local/bin/sensor-agent
unit=/etc/systemd/system/sensor-agent.service
additions=$unit.d
catalogue=/usr/local/lib/systemd/catalog/sensor-agent.catalog
gpio_rule=/etc/udev/rules.d/60-sensor-agent.rules
socket=/run/sensor-agent/control.sock

dry_run=
explain_failure=false # Prints why a command failed, in place of its output; returns 1 if it does not know.
after_failure=:       # Called last if a step failed.
changed= # Whether the running service differs from what is installed now.

# Temporary files of this run, including keys: mktemp gives only the caller access.
work=$(mktemp -d)

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Shows a command without the random name of the temporary directory.
without_temporary() {
    sed "s|$work|TEMPORARY|g"
}

# Runs a command that changes the machine; a dry run only prints it.
run() {
    if [ -n "$dry_run" ]; then
        say "    $*" | without_temporary
        return
    fi
    # The output of apt-get update may say why apt-get install fails.
    [ ! -e "$work/log" ] || mv "$work/log" "$work/log.before"
    if ! "$@" >"$work/log" 2>&1 </dev/null; then
        ! "$explain_failure" "$@" >&2 || exit 1
        cat "$work/log" >&2
        fail "$(say "This failed: $*" | without_temporary)"
    fi
}

# undo_with FUNCTION [ARGUMENT]: calls it if a later step fails. The last one is called first.
undo_with() {
    [ -n "$dry_run" ] || printf '%s %s\n' "$1" "${2:-}" >>"$work/undo"
}

finish() {
    status=$?
    trap - EXIT
    trap '' INT TERM HUP # Ctrl-C must not leave half of the steps undone.
    set +e
    if [ "$status" != 0 ] && [ -s "$work/undo" ]; then
        {
            say "Undoing the steps:"
            tac "$work/undo" | while read -r function argument; do
                ("$function" "$argument") </dev/null || say "    That failed: $function $argument"
            done
            say "Undone."
        } >&2
    fi
    [ "$status" = 0 ] || "$after_failure" >&2
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

is_there() {
    [ -e "$1" ] || [ -L "$1" ]
}

# Keeps a copy of FILE, to restore if a later step fails.
keep() {
    [ -z "$dry_run" ] || return 0
    if is_there "$1"; then
        mkdir -p "$work/before$(dirname "$1")"
        cp -a "$1" "$work/before$1"
    fi
    undo_with bring_back "$1"
}

bring_back() {
    rm -f "$1"
    if is_there "$work/before$1"; then
        say "    restoring $1"
        cp -a "$work/before$1" "$1"
    else
        say "    removing $1"
    fi
}

# put MODE USER:GROUP FILE: writes standard input to FILE.
put() {
    cat >"$work/wanted"
    if cmp -s "$work/wanted" "$3" && [ "$(stat -c '%a %U:%G' "$3")" = "$1 $2" ]; then
        return
    fi
    changed=yes
    say "Writing $3"
    keep "$3"
    # Under another name first, and synced, so that a power cut leaves the old file or the new one.
    run install -m "$1" -o "${2%:*}" -g "${2#*:}" "$work/wanted" "$3.new"
    run sync "$3.new"
    run mv "$3.new" "$3"
}

put_link() {
    if [ "$(readlink "$2")" = "$1" ]; then
        return
    fi
    say "Linking $2"
    keep "$2"
    run ln -s "$1" "$2.new"
    run mv -T "$2.new" "$2"
}

remove() {
    if is_there "$1"; then
        changed=yes
        say "Removing $1"
        keep "$1"
        run rm -f "$1"
    fi
}

make_directory() {
    if [ "$(stat -c '%a %U:%G' "$3" 2>/dev/null)" = "$1 $2" ]; then
        return
    fi
    say "Creating $3"
    [ -d "$3" ] || undo_with remove_directory "$3"
    run install -d -m "$1" -o "${2%:*}" -g "${2#*:}" "$3"
}

remove_directory() {
    say "    removing $1"
    rmdir "$1"
}

remove_tree() {
    say "    removing $1"
    rm -rf "$1"
}

must_be_root() {
    if [ -z "$dry_run" ] && [ "$(id -u)" != 0 ]; then
        fail "Root is required. Run the same command with sudo."
    fi
    [ -n "$dry_run" ] || [ -d /run/systemd/system ] ||
        fail "This system was not started with systemd, which the service needs."
}

# The index of the catalogue is one file for all programs, built from their catalogues.
index_catalogue() {
    say "    indexing the message catalogue"
    journalctl --update-catalog
}

#!/bin/sh
# Creates the project's virtual environment and keeps it in step with setup.cfg and constraints.txt.
#
#   sh deploy/venv.sh central | test | pi | docs  install what `make demo`, `make test`, `make test-pi`
#                                                 and `make docs` need
#   sh deploy/venv.sh constraints                 rewrite constraints.txt with today's versions
#
# PYTHON names the Python to use, VENV the directory. SDK=2.15.0rc1 installs this version of
# azure-iot-device, and the MQTT client that it needs, instead of the tested one. The script needs only Python and a network; on
# Debian it installs python3-venv if that is missing. It prints one line for each step. It prints
# pip's output only if pip fails.
set -eu
cd "$(dirname "$0")/.."

. deploy/packages.sh

venv=${VENV:-.venv}
supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

quietly() {
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        rm -f "$log"
    elif explain_download "$log" >&2; then
        rm -f "$log"
        exit 1
    else
        cat "$log" >&2
        rm -f "$log"
        fail "This failed: $*"
    fi
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    fi
    for python in "$@"; do
        # A command can exist and not work: pyenv's do if that version is not selected.
        if "$python" -c "$supported" >/dev/null 2>&1; then
            return
        fi
    done
    found=$("$1" -V 2>&1) || found="not installed"
    say "sensor-agent needs Python 3.11 to 3.14, and $1 is $found. To install one:"
    say "    $(python_command)"
    fail "Then try again. If make does not find it, name it: make PYTHON=/path/to/python3.13 ..."
}

python_command() {
    if [ "$(uname)" = Darwin ]; then
        if command -v brew >/dev/null 2>&1; then
            echo 'brew install python@3.13'
        else
            echo 'open https://www.python.org/downloads/macos/   # the newest 3.13'
        fi
    elif command -v apt-get >/dev/null 2>&1; then
        for version in 3.13 3.12 3.11 3.14; do
            if apt-cache show "python$version-venv" >/dev/null 2>&1; then
                as_root "apt-get install python$version python$version-venv"
                return
            fi
        done
        as_root 'apt-get update && apt-get install python3 python3-venv'
    elif command -v dnf >/dev/null 2>&1; then
        as_root 'dnf install python3.13'
    else
        echo "use your system's package manager, or https://www.python.org/downloads/"
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        echo "$1"
    elif command -v sudo >/dev/null 2>&1; then
        echo "sudo sh -c '$1'"
    else
        echo "su -c '$1'"
    fi
}

# Debian has ensurepip in a package of its own.
need_venv() {
    if "$python" -I -c 'import ensurepip, venv' 2>/dev/null; then
        return
    fi
    debian='import sys; sys.exit(sys.base_prefix != "/usr")'
    if ! command -v apt-get >/dev/null 2>&1 || ! "$python" -c "$debian"; then
        fail "$python cannot create virtual environments: it was built without ensurepip." \
            "Use another Python: make PYTHON=/path/to/python3.13 ..."
    fi
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    install="apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y $package"
    say "Debian's package $package (python3-venv) is missing."
    if [ "$(id -u)" = 0 ]; then
        say "Installing $package"
        quietly sh -c "$install"
    elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then
        printf 'Install it now with sudo? [Y/n] ' >&2
        read -r answer
        case $answer in
        [Nn]*) fail "To install it yourself: $(as_root "apt-get update && apt-get install $package")" ;;
        esac
        quietly sudo sh -c "$install" # sudo asks for the password on the terminal, not in the log.
    else
        say 'Install it, then try again:'
        fail "    $(as_root "apt-get update && apt-get install $package")"
    fi
    "$python" -I -c 'import ensurepip, venv' ||
        fail "$python still cannot create virtual environments. Use Debian's own /usr/bin/python3:" \
            "make PYTHON=/usr/bin/python3 ..."
}

make_venv() {
    if [ -x "$venv/bin/python" ] && "$venv/bin/python" -I -c "$supported" 2>/dev/null &&
        "$venv/bin/python" -I -m pip --version >/dev/null 2>&1 && is_wanted_python; then
        return
    fi
    # In the order of how often they are tested, after the system's own.
    find_python python3 python3.13 python3.12 python3.11 python3.14
    need_venv
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        fail "$venv exists and is not a virtual environment. Move it away, or choose VENV=another."
    fi
    must_be_writable
    say "Creating $venv with $("$python" -V)"
    quietly "$python" -I -m venv --clear "$venv"
}

# Only a PYTHON that was asked for can contradict the Python of the environment.
is_wanted_python() {
    [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -V 2>&1)" = "$("$venv/bin/python" -V)" ]
}

# After one `sudo make demo`, what pip has to replace belongs to root.
must_be_writable() {
    [ "$(id -u)" != 0 ] || return 0
    [ -w . ] || fail "Cannot write to $PWD: it belongs to $(owner .)." \
        "Copy the project to a directory of your own, and try again there."
    for place in "$venv" *.egg-info; do
        [ -e "$place" ] || continue
        foreign=$(find "$place" -type d ! -user "$(id -u)" | head -n 1)
        foreign=${foreign:-$place}
        [ -w "$foreign" ] ||
            fail "Cannot write to $foreign in $PWD: it belongs to $(owner "$foreign")." \
                "Remove it ($(as_root "rm -rf \"$place\"")), then try again."
    done
}

owner() {
    # shellcheck disable=SC2012 # macOS and Linux have different options for stat.
    ls -ld "$1" | awk '{ print $3 }'
}

install() {
    make_venv
    # By content, not by time: a checkout also touches files that it does not change. The directory
    # counts because an editable installation refers to it.
    state=$({ pwd && echo "${SDK:-}" && cat setup.cfg pyproject.toml constraints.txt; } | cksum)
    # The extra "test" includes "central", and no other.
    for extra in "$1" $([ "$1" != central ] || echo test); do
        if [ "$(cat "$venv/.installed-$extra" 2>/dev/null)" = "$state" ] &&
            [ -x "$venv/bin/sensor-agent" ]; then
            return
        fi
    done
    must_be_writable
    say "Installing the $1 packages into $venv (the first time takes a minute or two)"
    rm -f "$venv/.installed-$1"
    constraints >"$venv/.constraints"
    quietly "$venv/bin/python" -I deploy/run_pip.py install \
        --constraint "$venv/.constraints" --editable ".[$1]"
    quietly "$venv/bin/sensor-agent" --version
    echo "$state" >"$venv/.installed-$1"
}

constraints() {
    if [ -z "${SDK:-}" ]; then
        cat constraints.txt
    else
        grep -v -e '^azure-iot-device==' -e '^paho-mqtt==' constraints.txt
        echo "azure-iot-device==$SDK"
    fi
}

write_constraints() {
    # Versions that work with the oldest Python work with the newer ones.
    find_python python3.11
    need_venv
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    say "Asking for the current versions, with $("$python" -V)"
    quietly "$python" -I -m venv "$directory/venv"
    quietly "$directory/venv/bin/python" -I deploy/run_pip.py install --dry-run \
        --report "$directory/report.json" '.[central,pi,test,docs]'
    "$python" - "$directory/report.json" >"$directory/constraints.txt" <<'END'
import json
import sys

print("# The versions that were tested together, for Python 3.11 to 3.14: `make constraints`.")
print("# Those that only a Raspberry Pi or systemd-python needs are not all among them.")
with open(sys.argv[1], encoding="utf-8") as report:
    packages = [package["metadata"] for package in json.load(report)["install"]]
for package in sorted(packages, key=lambda package: package["name"].lower()):
    if package["name"] != "sensor-agent":
        print(f"{package['name']}=={package['version']}")
END
    cat "$directory/constraints.txt" >constraints.txt
    say "Wrote constraints.txt"
}

drop_python_variables
case ${1:-} in
central | test | pi | docs) install "$1" ;;
constraints) write_constraints ;;
*) fail "usage: sh deploy/venv.sh central | test | pi | docs | constraints" ;;
esac

#!/bin/sh
# Makes the project's virtual environment and keeps it in step with setup.cfg and constraints.txt.
#
#   sh deploy/venv.sh central | test | pi  what `make demo`, `make test`, `make test-pi` need
#   sh deploy/venv.sh constraints          writes constraints.txt anew
#
# PYTHON names the Python to use, VENV the directory. Nothing but Python and a network is needed;
# on Debian the missing python3-venv is installed. One line is said for each step, and what pip
# says only where it failed.
set -eu
cd "$(dirname "$0")/.."

venv=${VENV:-.venv}
wanted='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

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
        # A name may be there and not work: pyenv's are, where the version is not chosen.
        if "$python" -c "$wanted" >/dev/null 2>&1; then
            return
        fi
    done
    found=$("$1" -V 2>&1) || found="not there"
    say "Python 3.11, 3.12 or 3.13 is needed; $1 is $found. To get one:"
    say "    $(python_command)"
    fail "and try again. Where it has a name of its own: make PYTHON=/path/to/python3.13 ..."
}

python_command() {
    if [ "$(uname)" = Darwin ]; then
        if command -v brew >/dev/null 2>&1; then
            echo 'brew install python@3.13'
        else
            echo 'open https://www.python.org/downloads/macos/   # the newest 3.13'
        fi
    elif command -v apt-get >/dev/null 2>&1; then
        for version in 3.13 3.12 3.11; do
            if apt-cache show "python$version-venv" >/dev/null 2>&1; then
                as_root "apt-get install python$version python$version-venv"
                return
            fi
        done
        as_root 'apt-get update && apt-get install python3 python3-venv'
    elif command -v dnf >/dev/null 2>&1; then
        as_root 'dnf install python3.13'
    else
        echo "install it the way your system installs programs"
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

# Debian splits what makes virtual environments off into a package of its own.
need_venv() {
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        return
    fi
    debian='import sys; sys.exit(sys.base_prefix != "/usr")'
    if ! command -v apt-get >/dev/null 2>&1 || ! "$python" -c "$debian"; then
        fail "$python cannot make virtual environments: it was built without ensurepip." \
            "Use another Python: make PYTHON=/path/to/python3.13 ..."
    fi
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    install="apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y $package"
    say "Debian's package $package (python3-venv) is missing."
    if [ "$(id -u)" = 0 ]; then
        say "Installing $package"
        quietly sh -c "$install"
    elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then
        printf 'Install it now, through sudo? [Y/n] ' >&2
        read -r answer
        case $answer in
        [Nn]*) fail "Then do it by hand: $(as_root "apt-get update && apt-get install $package")" ;;
        esac
        quietly sudo sh -c "$install" # sudo asks on the terminal itself.
    else
        say 'Install it with:'
        fail "    $(as_root "apt-get update && apt-get install $package")"
    fi
    "$python" -c 'import ensurepip, venv' ||
        fail "$python still cannot make virtual environments; is it Debian's own?"
}

make_venv() {
    if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "$wanted" 2>/dev/null &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1 && same_python; then
        return
    fi
    find_python python3 python3.13 python3.12 python3.11
    need_venv
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        fail "$venv is there and is no virtual environment; move it away, or say VENV=another."
    fi
    say "Making $venv with $("$python" -V)"
    quietly "$python" -m venv --clear "$venv"
}

# Only a PYTHON that was asked for can contradict what is there.
same_python() {
    [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -V 2>&1)" = "$("$venv/bin/python" -V)" ]
}

install() {
    make_venv
    # By content, not by time: a checkout touches files that it does not change. The directory
    # counts because an editable install has it written down.
    state=$({ pwd && cat setup.cfg pyproject.toml constraints.txt; } | cksum)
    # The tests' has everything, but for what only a Raspberry Pi's wheels and compilers give.
    for extra in "$1" $([ "$1" = pi ] || echo test); do
        if [ "$(cat "$venv/.installed-$extra" 2>/dev/null)" = "$state" ]; then
            return
        fi
    done
    say "Installing the $1 packages into $venv (the first time takes a minute or two)"
    quietly "$venv/bin/python" -m pip --disable-pip-version-check install \
        --constraint constraints.txt --editable ".[$1]"
    echo "$state" >"$venv/.installed-$1"
}

write_constraints() {
    # What works with the oldest Python works with the newer ones.
    find_python python3.11
    need_venv
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    say "Asking what is current, with $("$python" -V)"
    quietly "$python" -m venv "$directory/venv"
    quietly "$directory/venv/bin/python" -m pip --disable-pip-version-check install --dry-run \
        --report "$directory/report.json" '.[central,pi,test]'
    "$python" - "$directory/report.json" >"$directory/constraints.txt" <<'END'
import json
import sys

print("# The versions that were tested together, for Python 3.11 to 3.13: `make constraints`.")
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

case ${1:-} in
central | test | pi) install "$1" ;;
constraints) write_constraints ;;
*) fail "usage: sh deploy/venv.sh central | test | pi | constraints" ;;
esac

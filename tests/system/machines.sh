# What the scripts that run tests in virtual machines share: sourced by them, at the repository's root.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/sensor-agent-tests
python=${VENV:-.venv}/bin/python
limit=1800 # Seconds for all that happens in a machine; it takes a quarter of them.

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

quietly() {
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        fail "This failed: $*"
    }
}

make_work_directory() {
    mkdir -p "$cache"
    # What runs that were killed have left.
    find "$cache" -maxdepth 1 -name 'run-*' -mmin +1440 -exec rm -rf {} +
    work=$(mktemp -d "$cache/run-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
}

# Of files: when one changes, what was made from it is made again.
key() {
    cat "$@" | sha256sum | cut -c1-16
}

# Returns whether an entry of the cache exists. If it does, it counts as used now.
is_cached() {
    [ -e "$1" ] && touch -c "$1"
}

# Puts what was made into the cache. Another run may have made the same meanwhile, and runs of other
# branches use entries with other keys: only those that nobody has used for a day are deleted.
# Arguments: what was made, and the entry.
keep() {
    [ -e "$2" ] || mv -T "$1" "$2"
    is_cached "$2"
    find "$cache" -maxdepth 1 -name "$(basename "${2%-*}")-*" -mmin +1440 -exec rm -rf {} +
}

# For Debian 12's Python on this processor, whichever Python pip runs with here. pip builds for none
# but its own, so what comes as source only, and is Python only, is built first.
fetch_packages() {
    mkdir "$work/wheels"
    quietly "$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/wheels" \
        --constraint constraints.txt paho-mqtt
    quietly "$python" -m pip download --quiet --dest "$work/wheels" --find-links "$work/wheels" \
        --constraint constraints.txt --only-binary=:all: --python-version 3.11 \
        --platform "manylinux_2_34_$1" --platform "manylinux_2_28_$1" \
        --platform "manylinux2014_$1" --platform "manylinux_2_17_$1" \
        'azure-iot-device>=2.14,<2.15' aiohttp cryptography wsproto gpiozero lgpio \
        pytest pytest-asyncio pytest-timeout hypothesis
}

# Builds a wheel of this project into a directory.
build_project() {
    # From a copy, because setuptools would take what an older build left in build/.
    mkdir "$work/source"
    cp -r agent hw central setup.cfg pyproject.toml README.md LICENSE "$work/source/"
    quietly "$python" -m pip wheel --quiet --no-deps --wheel-dir "$1" "$work/source"
}

# Copies the tests of one kind of machine, and what they share with all tests.
# Arguments: the directory, and the kind's name.
copy_tests() {
    mkdir -p "$1/tests/support" "$1/tests/system"
    cp setup.cfg "$1/"
    cp tests/conftest.py "$1/tests/"
    cp tests/support/*.py "$1/tests/support/"
    cp -r "tests/system/$2" "$1/tests/system/"
}

# The whole root file system goes into memory, so the machine needs no disk and no driver for one.
pack() {
    (cd "$1" && find . | cpio --create --format=newc --quiet) >"$work/image"
}

# Runs QEMU, shows what its tests print, and ends with their exit status.
run_machine() {
    timeout --foreground "$limit" "$@" -nographic -no-reboot -initrd "$work/image" </dev/null 2>&1 |
        sed -u 's/\r$//' | tee "$work/console" |
        sed -n -u '/^CHECKS BEGIN/,/^CHECKS END/{/^CHECKS/!p}'
    status=$(sed -n 's/^CHECKS END //p' "$work/console")
    if [ -z "$status" ]; then
        tail -n 60 "$work/console" >&2
        fail "The virtual machine broke off, or took more than $limit s."
    fi
    exit "$status"
}

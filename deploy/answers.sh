# What install.sh needs to know: from its options, else from a person, else by itself.
# shellcheck shell=sh

# The answers. Empty is: not given.
id_scope='' key_file='' group_key_file='' device_id='' driver='' model='' pin='' led_pin=''
provisioning_host='' ca_file='' fake='' wheels=''

asked= # Whether there is a person to ask.

usage() {
    cat <<'END'
usage: sudo sh deploy/install.sh [OPTION]...

Makes sensor-agent a service of this machine. Run again, it upgrades: the configuration in
/etc/sensor-agent and the readings that wait are kept. What is not given is asked, where there is a
terminal.

  --id-scope SCOPE       the application's, as its page shows it
  --key-file FILE        this device's own key
  --group-key-file FILE  an enrolment group's key: this device's own is made from it and kept, the
                         group's is not
  --device-id ID         who this device is; with a group's key it may be left out
  --driver NAME          of the sensor: kernel, dht22 or dht11 (Adafruit's), or fake
  --model NAME           dht22 or dht11, for the drivers kernel and fake
  --pin N, --led-pin N   GPIO numbers; without them 4 and 17
  --fake-hw              a made-up sensor and LED
  --provisioning-host HOST, --ca-file FILE
                         for a local IoT Central, as `sensor-agent central` prints them
  --wheels DIR           take everything from the wheels in DIR, nothing from the network
  --dry-run              say what would be done, and do none of it

Keys are given as files alone: arguments can be seen by every user of the machine.
END
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
        --*=*)
            option=${1%%=*} value=${1#*=}
            shift
            set -- "$option" "$value" "$@"
            ;;
        --help | -h) usage && exit ;;
        --dry-run) dry_run=yes && shift ;;
        --fake-hw) fake=yes && shift ;;
        *)
            [ $# -ge 2 ] || misused "$1 is no option, or one that needs a value."
            set_answer "$1" "$2"
            shift 2
            ;;
        esac
    done
    [ -z "$key_file" ] || [ -z "$group_key_file" ] ||
        misused "--key-file and --group-key-file: one of them, not both."
    [ -z "$fake" ] || driver=fake
}

set_answer() {
    case $1 in
    --id-scope) id_scope=$2 ;;
    --key-file) key_file=$(path_of "$2") ;;
    --group-key-file) group_key_file=$(path_of "$2") ;;
    --device-id) device_id=$2 ;;
    --driver) driver=$2 ;;
    --model) model=$2 ;;
    --pin) pin=$2 ;;
    --led-pin) led_pin=$2 ;;
    --provisioning-host) provisioning_host=$2 ;;
    --ca-file) ca_file=$(path_of "$2") ;;
    --wheels) wheels=$(path_of "$2") ;;
    --key | --group-key) misused "$1: a key is given as a file, with $1-file." ;;
    *) misused "$1 is no option." ;;
    esac
}

misused() {
    printf '%s\n' "$*" "For the options: sh deploy/install.sh --help" >&2
    exit 2
}

path_of() {
    case $1 in
    /*) printf '%s' "$1" ;;
    *) printf '%s' "$started_in/$1" ;;
    esac
}

# Finds out everything before anything is changed.
settle() {
    [ -z "$wheels" ] || ls "$wheels"/*.whl >/dev/null 2>&1 || fail "There are no wheels in $wheels."
    [ -z "$ca_file" ] || [ -r "$ca_file" ] || fail "$ca_file cannot be read. Nothing was changed."
    [ ! -d "$settings" ] || [ -x "$settings" ] ||
        fail "Only root may look into $settings, and what is there decides what is to be done: use sudo."
    if [ -e "$settings/config.toml" ]; then
        say "Keeping $settings/config.toml; options about what stands in it are not used."
        configuration=$settings/config.toml
    else
        configuration=$work/config.toml
        [ ! -t 0 ] || asked=yes
        after_failure=show_answers
        find_missing
        compose >"$configuration"
    fi
    read_configuration
    settle_key
}

find_missing() {
    if [ -z "$asked" ]; then
        lacking=
        [ -n "$id_scope" ] || lacking="$lacking --id-scope"
        [ -n "$key_file$group_key_file" ] || lacking="$lacking --key-file (or --group-key-file)"
        [ -z "$key_file" ] || [ -n "$device_id" ] || lacking="$lacking --device-id"
        [ -z "$lacking" ] || misused "There is no terminal to ask at, so these must be given:$lacking."
    fi
    [ -n "$id_scope" ] || id_scope=$(ask "ID scope, as the application's page shows it")
    [ -n "$key_file$group_key_file" ] || ask_for_key
    find_device_id
    [ -n "$driver" ] || driver=$(ask "Sensor read by (kernel: the kernel's driver, steadier when the \
machine is busy; dht22 or dht11: Adafruit's)" "$(proposed_driver)")
    if [ "$driver" != fake ]; then
        [ -n "$pin" ] || pin=$(ask "Sensor's data wire on GPIO" 4)
        [ -n "$led_pin" ] || led_pin=$(ask "LED on GPIO" 17)
    fi
}

# Prints the command line that gives the same answers again. A key that was typed is not part of it.
show_answers() {
    [ -n "$asked" ] || return 0
    answers=
    for option in id-scope key-file group-key-file device-id driver model pin led-pin \
        provisioning-host ca-file wheels; do
        eval "value=\$$(echo "$option" | tr - _)"
        [ -z "$value" ] || [ "$value" = "$work/typed" ] || answers="$answers --$option $(quoted "$value")"
    done
    [ -z "$fake" ] || answers="$answers --fake-hw"
    [ -z "$answers" ] || printf '%s\n' "To give the same answers again (a typed key is asked again):" \
        "    sudo sh $(quoted "$PWD/deploy/install.sh")$answers"
}

# Quotes what the shell would not take as it stands.
quoted() {
    case $1 in
    *[!A-Za-z0-9_./:-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s' "$1" ;;
    esac
}

# ask QUESTION [PROPOSAL]: prints the answer; where nobody can be asked, the proposal.
ask() {
    answer=
    while [ -n "$asked" ] && [ -z "$answer" ]; do
        printf '%s%s: ' "$1" "${2:+ [$2]}" >&2
        read -r answer || fail "" "Nothing was changed."
        answer=${answer:-${2:-}}
    done
    printf '%s' "${answer:-${2:-}}"
}

ask_for_key() {
    kind=$(ask "Which key do you have: this device's own (d), or an enrolment group's (g)" d)
    case $kind in
    [Gg]*) group_key_file=$work/typed ;;
    *) key_file=$work/typed ;;
    esac
    printf 'The key (it is not shown): ' >&2
    trap 'stty echo; exit 130' INT
    stty -echo
    read -r typed || :
    stty echo
    trap 'exit 130' INT
    echo >&2
    # printf is the shell's own, so the key is in no argument list.
    printf '%s\n' "$typed" >"$work/typed"
    unset typed
}

# Every new image has the same host name, which would make many devices one.
find_device_id() {
    proposed=$(id_of_board)
    [ -z "$device_id" ] || must_be_own "$device_id"
    [ -n "$device_id$proposed$asked" ] ||
        fail "--device-id is needed: this machine has no number of its own to make one from."
    while [ -z "$device_id" ]; do
        device_id=$(ask "Device id" "$proposed")
        ! is_the_images "$device_id" || [ -z "$asked" ] || {
            say "Every new image is called that; take another." && device_id=
        }
    done
}

must_be_own() {
    ! is_the_images "$1" || fail \
        "--device-id $1: every new image is called that, and two devices of one name cut each" \
        "other off. ${proposed:+From the number of this board: --device-id $proposed}"
}

is_the_images() {
    case $(printf '%s' "$1" | tr '[:upper:]' '[:lower:]') in
    raspberrypi | localhost) return 0 ;;
    *) return 1 ;;
    esac
}

id_of_board() {
    python -c 'from agent.storage.machine_id import board_id; print((b := board_id() or "") and "pi-" + b[-8:].lower())'
}

compose() {
    echo "# Written by deploy/install.sh. All there is to set: sensor-agent config example"
    echo "# After a change: sudo systemctl restart sensor-agent"
    section device id "$device_id"
    section cloud id_scope "$id_scope" key_file device.key provisioning_host "$provisioning_host" \
        ca_file "${ca_file:+ca.pem}"
    section sensor driver "$driver" model "$model" pin "$pin"
    section led driver "${fake:+fake}" pin "$led_pin"
}

# section NAME [KEY VALUE]...: in TOML, without the keys that have no value.
section() {
    printf '\n[%s]\n' "$1"
    shift
    while [ $# -gt 0 ]; do
        case $1,$2 in
        *,) ;;
        pin,*) printf '%s = %s\n' "$1" "$2" ;;
        *) printf '%s = "%s"\n' "$1" "$(printf '%s' "$2" | sed 's/[\\"]/\\&/g')" ;;
        esac
        shift 2
    done
}

# The system's Python with this program, which needs nothing else to read a configuration.
python() {
    PYTHONPATH=. /usr/bin/python3 -B "$@"
}

read_configuration() {
    python - "$configuration" >"$work/facts" <<'END' || fail "Nothing was changed."
import sys
from pathlib import Path

from agent.config import loader as config
from agent.errors import ConfigError

try:
    found = config.load(Path(sys.argv[1]))
except ConfigError as error:
    sys.exit(str(error))
key = found.cloud and found.cloud.key_file
print(found.device.id, found.sensor.driver, found.sensor.pin, found.led.driver, key or "-")
END
    read -r device_id driver pin led_driver named_key <"$work/facts"
}

# A key that is given replaces the one that is there.
settle_key() {
    given=$key_file$group_key_file
    if [ -z "$given" ] && [ "$named_key" = device.key ] && [ ! -e "$settings/credentials/device.key" ]; then
        fail "$configuration names a key that is not here: give it with --key-file or" \
            "--group-key-file. Nothing was changed."
    fi
    [ -n "$given" ] || return 0
    [ "$named_key" = device.key ] ||
        fail "$configuration does not say key_file = \"device.key\" in [cloud], so the key that is" \
            "given would not be used. Nothing was changed."
    (umask 077 && make_key "$given" >"$work/device.key") || fail "Nothing was changed."
}

# Prints this device's key, made from the group's where that was given.
make_key() {
    [ -r "$1" ] || fail "$1 cannot be read."
    named=$1
    [ "$1" != "$work/typed" ] || named="What was typed"
    # shellcheck disable=SC2094 # The name is for the message; nothing writes to it.
    python -c '
import base64, sys
from agent.config.credentials import derive_device_key

file, device_id = sys.argv[1:]
sys.stdin.reconfigure(errors="replace")
key = sys.stdin.read().strip()
try:
    decoded = base64.b64decode(key, validate=True)
except ValueError:
    decoded = b""
if not decoded:
    sys.exit(f"{file} does not hold a key: a key is one line of base64, as Connect shows it.")
print(derive_device_key(key, device_id) if device_id else key)
' "$named" "${group_key_file:+$device_id}" <"$1"
}

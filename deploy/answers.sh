# What install.sh needs to know: from its options, else from questions, else from defaults.
# shellcheck shell=sh

# The answers. Empty means: not given.
connection_string_file='' id_scope='' key_file='' group_key_file='' device_id='' driver='' model='' pin='' led_pin=''
provisioning_host='' ca_file='' fake='' wheels='' central='' kind=''

given=       # The options of the command line, without their values.
asked=       # Whether standard input is a terminal and questions are allowed.
interactive= # Whether to ask for everything, also for what has a default.
answered=    # Whether a question was answered.
assumed=     # The defaults that were used, as options.

usage() {
    cat <<'END'
usage: sudo sh deploy/install.sh [OPTION]...

Installs sensor-agent as a service of this machine, or upgrades it. An upgrade keeps the
configuration in /etc/sensor-agent and the queued readings. Without options, the installer asks for
everything. With options, it uses the defaults for the rest, and asks only for what has no default:
the device's connection string, or the ID scope, the key, and the device id if the key is the
device's own.

  --connection-string-file FILE
                         this device's connection string, as IoT Hub shows it; nothing else is needed
  --id-scope SCOPE       ID scope of a provisioning service (DPS) or an IoT Central application
  --key-file FILE        this device's own key; needs --device-id
  --group-key-file FILE  key of an enrolment group; only the device's key derived from it is installed
  --device-id ID         device id; default with a group key: made from the board's serial number
  --driver NAME          sensor driver: kernel, or dht22, dht21 or dht11 (Adafruit's), or fake;
                         default: kernel if the system has that driver, else dht22
  --model NAME           dht22 (AM2302), dht21 (AM2301) or dht11, for the drivers kernel and fake;
                         default: dht22
  --pin N, --led-pin N   GPIO numbers of sensor and LED; default: 4 and 17
  --fake-hw              simulate the sensor and the LED
  --central DIR          connect to the local IoT Central that runs with its data in DIR; replaces
                         --id-scope, --group-key-file, --provisioning-host and --ca-file
  --provisioning-host HOST, --ca-file FILE
                         connect to a local IoT Central on another machine
  --wheels DIR           install from the wheels in DIR, without a network
  --dry-run              print the steps and change nothing; asks nothing

Keys and connection strings are read from files because every user of the machine can see the
arguments of a command.
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
        --fake-hw) fake=yes given="$given $1" && shift ;;
        *)
            [ $# -ge 2 ] || misused "$1 is not an option, or its value is missing."
            set_answer "$1" "$2"
            given="$given $1"
            shift 2
            ;;
        esac
    done
    [ -z "$key_file" ] || [ -z "$group_key_file" ] ||
        misused "--key-file and --group-key-file exclude each other. Give one of them."
    [ -z "$connection_string_file" ] ||
        [ -z "$id_scope$key_file$group_key_file$device_id$provisioning_host$central" ] ||
        misused "--connection-string-file replaces --id-scope, --key-file, --group-key-file, --device-id," \
            "--provisioning-host and --central. Give it without them."
    [ -z "$fake" ] || driver=fake
}

set_answer() {
    case $1 in
    --connection-string-file) connection_string_file=$(path_of "$2") ;;
    --id-scope) id_scope=$2 ;;
    --key-file) key_file=$(path_of "$2") ;;
    --group-key-file) group_key_file=$(path_of "$2") ;;
    --device-id) device_id=$2 ;;
    --driver) driver=$2 ;;
    --model) model=$2 ;;
    --pin) pin=$2 ;;
    --led-pin) led_pin=$2 ;;
    --central) central=$(path_of "$2") ;;
    --provisioning-host) provisioning_host=$2 ;;
    --ca-file) ca_file=$(path_of "$2") ;;
    --wheels) wheels=$(path_of "$2") ;;
    --key | --group-key | --connection-string)
        misused "$1 is not an option: other users could see it. Write it to a file, and give that with $1-file."
        ;;
    *) misused "$1 is not an option." ;;
    esac
}

misused() {
    printf '%s\n' "$*" "For the options: sh $(quoted "$0") --help" >&2
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
    [ ! -d "$settings" ] || [ -x "$settings" ] ||
        fail "Only root can read $settings, which decides what the installer does. Use sudo."
    if [ -e "$settings/config.toml" ]; then
        configuration=$settings/config.toml
        say_what_is_kept
        check_files
    else
        configuration=$work/config.toml
        must_have_gpio
        [ -z "$central" ] || read_central
        check_files
        check_options
        [ -n "$dry_run" ] || [ ! -t 0 ] || asked=yes
        [ -z "$asked" ] || [ -n "$given" ] || interactive=yes
        after_failure=show_answers
        find_missing
        compose >"$configuration"
    fi
    read_configuration
    settle_secret
    [ -z "$assumed" ] || say "Using the defaults:$assumed"
}

say_what_is_kept() {
    unused=
    for option in $given; do
        case $option in
        --connection-string-file | --key-file | --group-key-file | --ca-file | --wheels) ;;
        *) unused="$unused $option" ;;
        esac
    done
    say "Keeping $configuration.${unused:+ To change it, edit it: these options are not used:$unused}"
}

# Only a Raspberry Pi has lines that gpiozero, on which the LED depends, can drive.
must_have_gpio() {
    advice="sudo make install ARGS=--fake-hw"
    [ -z "$given" ] || advice="add the option --fake-hw"
    [ -n "$fake" ] || has_gpio ||
        fail "This machine is not a Raspberry Pi with GPIO lines (/dev/gpiochip*). To install with a" \
            "simulated sensor and LED: $advice"
}

# Central keeps central.json while it runs.
read_central() {
    [ -z "$key_file$id_scope$group_key_file$provisioning_host$ca_file" ] ||
        misused "--central replaces --id-scope, --key-file, --group-key-file," \
            "--provisioning-host and --ca-file. Give it without them."
    [ -r "$central/central.json" ] ||
        fail "Cannot read $central/central.json. Start the local IoT Central (sensor-agent central)," \
            "or give its data directory with --central."
    python -c '
import json, sys

try:
    with open(sys.argv[1], encoding="utf-8") as file:
        central = json.load(file)
    print(central["id_scope"], central["mqtt_host"])
except (ValueError, KeyError, TypeError):
    sys.exit(f"{sys.argv[1]} is damaged. Restart the local IoT Central, which writes it again.")
' "$central/central.json" >"$work/central" || fail "Nothing was changed."
    read -r id_scope provisioning_host <"$work/central"
    group_key_file=$central/group-key
    ca_file=$central/ca.pem
}

check_files() {
    [ -z "$ca_file" ] || [ -r "$ca_file" ] || fail "Cannot read $ca_file. Nothing was changed."
    for file in "$key_file" "$group_key_file"; do
        [ -z "$file" ] || make_key "$file" >/dev/null || fail "Nothing was changed."
    done
    [ -z "$connection_string_file" ] || check_connection_string || fail "Nothing was changed."
}

check_options() {
    proposed=$(id_of_board)
    ! has_image_name "$device_id" || fail \
        "--device-id $device_id: every new image has this name, and devices with the same id disconnect" \
        "each other. ${proposed:+Made from the serial number of this board: --device-id $proposed}"
    mistakes || fail "Nothing was changed."
}

# Prints what is wrong with the answers given so far; returns 1 if something is.
mistakes() {
    compose unknown >"$work/answers.toml"
    facts_of "$work/answers.toml" >/dev/null
}

find_missing() {
    if [ -n "$dry_run" ]; then
        assume_credentials
    elif [ -z "$asked" ]; then
        must_have_credentials
    fi
    [ -n "$connection_string_file$id_scope" ] || ask_for_way
    if [ -z "$connection_string_file" ]; then
        [ -n "$key_file$group_key_file" ] || ask_for_key
        [ -n "$device_id" ] || find_device_id
    fi
    choose driver "Sensor driver (kernel: the kernel's, more reliable on a busy machine; dht22, dht21 or \
dht11: Adafruit's)" "$(proposed_driver)"
    if [ "$driver" != fake ]; then
        choose pin "GPIO number of the sensor's data wire" 4
        choose led_pin "GPIO number of the LED" 17
    fi
}

must_have_credentials() {
    [ -z "$connection_string_file" ] || return 0
    lacking=
    if [ -z "$id_scope$key_file$group_key_file" ]; then
        lacking=" --connection-string-file, or --id-scope and --key-file (or --group-key-file)"
    else
        [ -n "$id_scope" ] || lacking="$lacking --id-scope"
        [ -n "$key_file$group_key_file" ] || lacking="$lacking --key-file (or --group-key-file)"
        [ -z "$key_file" ] || [ -n "$device_id" ] || lacking="$lacking --device-id"
    fi
    [ -z "$lacking" ] ||
        misused "Standard input is not a terminal, so these options are required:$lacking."
}

# A dry run shows the steps also before there is a hub.
assume_credentials() {
    [ -z "$connection_string_file" ] || return 0
    if [ -z "$id_scope$key_file$group_key_file$device_id$provisioning_host" ]; then
        echo "HostName=example.azure-devices.net;DeviceId=pi-00000000;SharedAccessKey=ZXhhbXBsZQ==" >"$work/typed"
        connection_string_file=$work/typed
        assumed="$assumed --connection-string-file FILE"
        return
    fi
    [ -n "$id_scope" ] || assume id_scope 0ne00000000
    if [ -z "$key_file$group_key_file" ]; then
        echo ZXhhbXBsZQ== >"$work/typed"
        key_file=$work/typed
        assumed="$assumed --key-file FILE"
    fi
}

# Every new image has the same host name, so the id cannot come from there.
find_device_id() {
    if [ -n "$key_file" ] && [ -n "$asked" ]; then
        ask device_id "Device id that the key belongs to"
    elif [ -n "$proposed" ]; then
        choose device_id "Device id" "$proposed"
    elif [ -n "$asked" ]; then
        ask device_id "Device id"
    elif [ -n "$dry_run" ]; then
        assume device_id pi-00000000
    else
        fail "--device-id is required: this machine has no serial number to make an id from."
    fi
}

has_image_name() {
    case $(printf '%s' "$1" | tr '[:upper:]' '[:lower:]') in
    raspberrypi | localhost) return 0 ;;
    *) return 1 ;;
    esac
}

id_of_board() {
    python -c 'from agent.storage.machine_id import board_id; print((b := board_id() or "") and "pi-" + b[-8:].lower())'
}

# choose NAME QUESTION DEFAULT: gives the variable NAME a value if it has none.
choose() {
    eval "[ -z \"\$$1\" ]" || return 0
    if [ -n "$interactive" ]; then
        ask "$@"
    else
        assume "$1" "$3"
    fi
}

# assume NAME VALUE
assume() {
    eval "$1=\$2"
    assumed="$assumed --$(printf '%s' "$1" | tr _ -) $2"
}

# ask NAME QUESTION [DEFAULT]: sets the variable NAME to the first answer that is right.
ask() {
    while :; do
        printf '%s%s: ' "$2" "${3:+ [$3]}" >&2
        read -r answer || fail "" "Nothing was changed."
        answer=${answer:-${3:-}}
        [ -n "$answer" ] || continue
        answered=yes
        eval "$1=\$answer"
        if [ "$1" = device_id ] && has_image_name "$device_id"; then
            echo "Every new image has this name, and devices with the same id disconnect each other." >&2
        elif mistakes; then
            return
        fi
        eval "$1="
    done
}

# One question takes a whole connection string or an ID scope. A string may not be shown.
ask_for_way() {
    question="Connection string of this device, as IoT Hub shows it, or ID scope"
    [ -z "$key_file$group_key_file" ] || question="ID scope"
    echo "Where it comes from: docs/azure.md" >&2
    while :; do
        read_secret "$question"
        answered=yes
        # No ID scope is that long or has this sign.
        if [ "$(wc -c <"$work/typed")" -gt 40 ] || grep -q = "$work/typed"; then
            connection_string_file=$work/typed
            if [ -z "$key_file$group_key_file" ] && check_connection_string; then
                echo "Device id: $(tail -n 1 "$work/checked")" >&2
                return
            fi
            [ -z "$key_file$group_key_file" ] || echo "This is not an ID scope." >&2
            connection_string_file=
        elif grep -q . "$work/typed"; then
            id_scope=$(cat "$work/typed")
            if mistakes; then
                echo "ID scope: $id_scope" >&2
                return
            fi
            id_scope=
        fi
    done
}

ask_for_key() {
    while :; do
        ask kind "Is the key this device's own (d) or an enrolment group's (g)?" d
        case $kind in
        [Dd]) key_file=$work/typed && break ;;
        [Gg]) group_key_file=$work/typed && break ;;
        *) echo "Answer d or g." >&2 ;;
        esac
    done
    until read_secret "Key" && make_key "$work/typed" >/dev/null; do :; done
}

# read_secret NAME: reads a line from the terminal, which does not show it, into $work/typed.
read_secret() {
    printf '%s (not shown while you type): ' "$1" >&2
    trap 'stty echo; exit 130' INT
    stty -echo
    ended=
    read -r typed || ended=yes
    stty echo
    trap 'exit 130' INT
    echo >&2
    [ -z "$ended" ] || [ -n "$typed" ] || fail "Nothing was changed."
    # printf is built into the shell, so the secret is in no argument list.
    printf '%s\n' "$typed" >"$work/typed"
    unset typed
}

# Prints the command line that repeats the answers, without a typed secret.
show_answers() {
    [ -n "$answered" ] || return 0
    answers=
    [ -z "$connection_string_file" ] || device_id= # The connection string has it.
    for option in connection-string-file id-scope key-file group-key-file device-id driver model pin led-pin \
        provisioning-host ca-file wheels; do
        eval "value=\$$(echo "$option" | tr - _)"
        [ -z "$value" ] || [ "$value" = "$work/typed" ] || answers="$answers --$option $(quoted "$value")"
    done
    [ -z "$fake" ] || answers="$answers --fake-hw"
    [ -z "$answers" ] || printf '%s\n' "To use the same answers again (a typed secret is asked for again):" \
        "    sudo sh $(quoted "$PWD/deploy/install.sh")$answers"
}

# Quotes a word for the shell if it needs that.
quoted() {
    case $1 in
    *[!A-Za-z0-9_./:-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s' "$1" ;;
    esac
}

# compose [VALUE]: prints the configuration; VALUE stands for what is not known yet.
compose() {
    led=${fake:+fake}
    # Not known yet, the LED's line must not seem to be the one that was chosen for the sensor.
    [ -n "$fake$led_pin" ] || led=${1:+fake}
    echo "# Written by deploy/install.sh. To see every key: sensor-agent config example"
    echo "# To apply a change: sudo systemctl reload sensor-agent"
    if [ -n "$connection_string_file" ]; then
        section cloud connection_string_file device.connection ca_file "${ca_file:+ca.pem}"
    else
        section device id "${device_id:-${1:-}}"
        section cloud id_scope "${id_scope:-${1:-}}" key_file device.key \
            provisioning_host "$provisioning_host" ca_file "${ca_file:+ca.pem}"
    fi
    section sensor driver "$driver" model "$model" pin "$pin"
    section led driver "$led" pin "$led_pin"
}

# section NAME [KEY VALUE]...: in TOML, without the keys that have no value.
section() {
    printf '\n[%s]\n' "$1"
    shift
    while [ $# -gt 0 ]; do
        case $1,$2 in
        *,) ;;
        pin,*[!0-9]* | pin,0?*) string "$1" "$2" ;; # TOML would not read it as a number.
        pin,*) printf '%s = %s\n' "$1" "$2" ;;
        *) string "$1" "$2" ;;
        esac
        shift 2
    done
}

# string KEY VALUE: no value may contain control characters, which TOML refuses.
string() {
    printf '%s = "%s"\n' "$1" "$(printf '%s' "$2" | tr '[:cntrl:]' '?' | sed 's/[\\"]/\\&/g')"
}

# The system's Python with this program; reading a configuration needs no other packages.
python() {
    PYTHONPATH=. /usr/bin/python3 -B "$@"
}

# facts_of FILE: prints what the installer needs to know of a configuration. Prints the mistakes to
# standard error and returns 1 if there are any; the name of a temporary file would mean nothing.
facts_of() {
    python - "$1" "$work/" <<'END'
import sys
from pathlib import Path

from agent.config import loader as config
from agent.errors import ConfigError

file, temporary = sys.argv[1:]
try:
    found = config.load(Path(file))
except ConfigError as error:
    sys.exit(str(error).replace(f"{file}: ", "") if file.startswith(temporary) else str(error))
cloud, sensor = found.cloud, found.sensor
key = cloud and cloud.key_file
connection = cloud and cloud.connection_string_file
host = cloud and cloud.provisioning_host
words = (found.device.id, sensor.driver, sensor.pin, found.led.driver, key, connection, host)
print(*("-" if word in (None, "") else word for word in words))
END
}

read_configuration() {
    facts_of "$configuration" >"$work/facts" || fail "Nothing was changed."
    read -r device_id driver pin led_driver named_key named_connection host <"$work/facts"
}

# A given key or connection string replaces the installed one.
settle_secret() {
    if [ -n "$connection_string_file" ]; then
        settle_connection_string
    elif [ -n "$key_file$group_key_file" ] || [ "$named_connection" = - ]; then
        settle_key
    else
        settle_connection_string
    fi
}

settle_key() {
    file=$key_file$group_key_file
    must_be_used "$file" key_file "$named_key" device.key "--key-file or --group-key-file"
    [ -n "$file" ] || return 0
    (umask 077 && make_key "$file" "${group_key_file:+$device_id}" >"$work/device.key") ||
        fail "Nothing was changed."
}

settle_connection_string() {
    must_be_used "$connection_string_file" connection_string_file \
        "$named_connection" device.connection --connection-string-file
    [ "$named_connection" = device.connection ] || return 0
    file=${connection_string_file:-$settings/credentials/device.connection}
    (umask 077 && read_connection_string "$file" >"$work/device.connection") || fail "Nothing was changed."
    device_id=$(tail -n 1 "$work/device.connection")
    sed -i '$d' "$work/device.connection"
}

# must_be_used FILE KEY NAMED NAME OPTION: NAME is installed for KEY, for which the configuration has
# NAMED; FILE replaces it, if one is given.
must_be_used() {
    if [ -z "$1" ] && [ "$3" = "$4" ] && [ ! -e "$settings/credentials/$4" ]; then
        fail "$configuration names the file $4, which is not installed. Give it with $5. Nothing was changed."
    fi
    [ -z "$1" ] || [ "$3" = "$4" ] ||
        fail "$configuration does not have $2 = \"$4\" in [cloud], so the given file would" \
            "not be used. Correct it, or remove it, and the installer writes a new one. Nothing was changed."
}

# Whether the group key belongs to a local IoT Central on this machine, which needs it.
is_centrals_key() {
    case $host in
    localhost | 127.*) return 0 ;;
    esac
    [ -e "$(dirname "$1")/ca-key.pem" ] # Central's own authority, which stays in its directory.
}

# make_key FILE [ID]: prints the key in FILE, or the key of the device ID if FILE has a group's.
make_key() {
    [ -r "$1" ] || fail "Cannot read $1."
    named=$1
    [ "$1" != "$work/typed" ] || named="This line"
    # shellcheck disable=SC2094 # The name is for the message; nothing writes to the file.
    python -c '
import sys
from agent.config.credentials import derive_device_key
from agent.config.pasted import PasteError, check_key, decode, is_connection_string, unquoted

named, device_id = sys.argv[1:]
try:
    key = unquoted(decode(sys.stdin.buffer.read()))
    if not key:
        raise PasteError("is empty.")
    if is_connection_string(key):
        raise PasteError("holds a connection string, not a key. Give it with --connection-string-file.")
    check_key(key)
except UnicodeDecodeError:
    sys.exit(f"{named} is not a text file.")
except PasteError as error:
    sys.exit(f"{named} {error}")
print(derive_device_key(key, device_id) if device_id else key)
' "$named" "${2:-}" <"$1"
}

# Whether the given connection string can be installed. Its certificate is not among the options.
check_connection_string() {
    read_connection_string "$connection_string_file" >"$work/checked" || return 1
    [ "$configuration" != "$work/config.toml" ] || ! grep -qi 'x509 *= *true' "$work/checked" || {
        echo "The connection string has x509=true, and the installer knows only keys. Write" \
            "$settings/config.toml for the certificate first: see docs/install.md, Other secrets." >&2
        return 1
    }
}

# read_connection_string FILE: prints the connection string in FILE, and then its device id.
read_connection_string() {
    [ -r "$1" ] || fail "Cannot read $1."
    named=$1
    [ "$1" != "$work/typed" ] || named="This line"
    python -c '
import sys
from agent.config.pasted import PasteError, decode, parse_connection_string, unquoted

named = sys.argv[1]
try:
    text = unquoted(decode(sys.stdin.buffer.read()))
    if not text:
        raise PasteError("is empty.")
    found = parse_connection_string(text)
except UnicodeDecodeError:
    sys.exit(f"{named} is not a text file.")
except PasteError as error:
    sys.exit(f"{named} {error}")
print(text, found.device_id, sep="\n")
' "$named" <"$1"
}

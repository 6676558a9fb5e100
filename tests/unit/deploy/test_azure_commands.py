"""Each `az` command in the pages has the syntax of its published reference.

The table was read in November 2026 from https://learn.microsoft.com/cli/azure/ and from the sources
of Azure/azure-cli and Azure/azure-iot-cli-extension. It has only the options that the pages use.
"""

import re
import shlex
from itertools import pairwise

import pytest
from pages import PAGES, code_lines

CLI = "src/azure-cli/azure/cli/command_modules/iot/_params.py"  # in Azure/azure-cli
IOT = "azext_iot/_params.py"  # in Azure/azure-iot-cli-extension
REFERENCE = "https://learn.microsoft.com/cli/azure/"

EVERYWHERE = {"--query", "--output"}
DEVICE = {"--hub-name", "--device-id"}
ENROLMENT = {"--dps-name", "--resource-group", "--enrollment-id"}

# command: (required options, other options, where they are defined).
COMMANDS = {
    "login": (set(), set(), REFERENCE + "reference-index#az-login"),
    "extension add": ({"--name"}, set(), REFERENCE + "extension#az-extension-add"),
    "group create": ({"--name", "--location"}, set(), REFERENCE + "group#az-group-create"),
    "group delete": ({"--name"}, set(), REFERENCE + "group#az-group-delete"),
    "iot hub create": ({"--name", "--resource-group"}, {"--sku", "--partition-count"}, CLI),
    "iot hub show-quota-metrics": (set(), {"--name"}, CLI),
    "iot hub consumer-group create": ({"--hub-name", "--name"}, set(), CLI),
    "iot hub connection-string show": (
        set(),
        {"--hub-name", "--policy-name", "--default-eventhub"},
        REFERENCE + "iot/hub/connection-string",
    ),
    "iot hub device-identity create": ({"--device-id"}, {"--hub-name"}, IOT),
    "iot hub device-identity connection-string show": (
        {"--device-id"},
        {"--hub-name"},
        REFERENCE + "iot/hub/device-identity/connection-string",
    ),
    "iot hub monitor-events": (set(), {*DEVICE, "--properties"}, IOT),
    "iot hub invoke-device-method": (
        {"--device-id", "--method-name"},
        {"--hub-name", "--method-payload"},
        IOT,
    ),
    "iot hub device-twin show": ({"--device-id"}, {"--hub-name"}, IOT),
    "iot hub device-twin update": ({"--device-id"}, {"--hub-name", "--desired"}, IOT),
    "iot device c2d-message send": (
        {"--device-id"},
        {"--hub-name", "--properties", "--data"},
        IOT,
    ),
    "iot dps create": ({"--name", "--resource-group"}, set(), CLI),
    "iot dps show": ({"--name"}, {"--resource-group"}, CLI),
    "iot dps linked-hub create": (
        {"--dps-name"},
        {"--resource-group", "--hub-name"},
        REFERENCE + "iot/dps/linked-hub",
    ),
    "iot dps enrollment-group create": (
        {"--enrollment-id"},
        ENROLMENT,
        REFERENCE + "iot/dps/enrollment-group",
    ),
    "iot dps enrollment-group show": (
        {"--enrollment-id"},
        {*ENROLMENT, "--show-keys"},
        REFERENCE + "iot/dps/enrollment-group",
    ),
}
WITHOUT_A_VALUE = {"--show-keys", "--default-eventhub"}


def written():
    """Return each `az ...` in a code block or code span, as parameters of a test."""
    for page, text in PAGES.items():
        for code in code_lines(text):
            if match := re.match(r"(?:\(umask 077; )?(az [a-z][^>)]*)", code):
                yield pytest.param(match[1].strip(), id=f"{page}:{match[1].strip()}")


@pytest.mark.parametrize("line", list(written()))
def test_every_az_command_in_the_pages_is_as_in_its_reference(line):
    words = shlex.split(line)[1:]
    end = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    required, optional, _source = COMMANDS[" ".join(words[:end])]
    given = {word for word in words[end:] if word.startswith("--")}
    assert required <= given
    assert given <= required | optional | EVERYWHERE
    for option, value in pairwise([*words[end:], "--"]):
        if option.startswith("-"):
            assert option.startswith("--")
            assert value.startswith("-") is (option in WITHOUT_A_VALUE)


def test_the_table_has_no_command_that_no_page_uses():
    lines = [parameter.values[0] for parameter in written()]
    for command in COMMANDS:
        assert any(re.match(rf"az {command}(?: -|$)", line) for line in lines), command

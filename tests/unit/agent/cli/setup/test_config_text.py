"""A configuration file is changed as text: comments and other keys stay."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.setup.config_text import edited
from agent.errors import AgentError

FILE = """\
# The shed's.
[device]
id = "shed" # not the barn's

[sensor]
driver = 'kernel'   # the kernel's
pin = 4
#model = "dht11"

[led]
"""


def test_a_value_is_replaced_and_its_comment_stays():
    changed = edited(FILE, {("device", "id"): "barn", ("sensor", "driver"): "dht22"})
    assert changed == FILE.replace('"shed"', '"barn"').replace("'kernel'", '"dht22"')


def test_a_key_is_added_after_the_last_one_of_its_section():
    changed = edited(FILE, {("sensor", "model"): "dht11", ("led", "pin"): 27})
    assert changed == FILE.replace("pin = 4\n", 'pin = 4\nmodel = "dht11"\n') + "pin = 27\n"


def test_a_section_is_added_at_the_end():
    assert edited(FILE, {("log", "level"): "debug"}) == f'{FILE}\n[log]\nlevel = "debug"\n'
    assert edited("", {("led", "pin"): 5}) == "[led]\npin = 5\n"


def test_a_removed_key_leaves_the_others():
    changed = edited(FILE, {("sensor", "driver"): None, ("log", "level"): None})
    assert changed == FILE.replace("driver = 'kernel'   # the kernel's\n", "")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_stay(end):
    text = "\ufeff" + "[sensor]\npin = 4\n".replace("\n", end)
    changed = edited(text, {("sensor", "pin"): 17, ("sensor", "driver"): "fake"})
    assert changed == "\ufeff" + '[sensor]\npin = 17\ndriver = "fake"\n'.replace("\n", end)


def test_a_last_line_without_an_end_gets_one():
    assert edited("[led]\npin = 4", {("led", "driver"): "fake"}) == (
        '[led]\npin = 4\ndriver = "fake"\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        "sensor = {pin = 4}\n",
        "sensor.pin = 4\n",
        '[sensor]\npin = """4"""\n',
        '["sensor"]\npin = 4\n',
        '[sensor]\n"pin" = 4\n',
        'text = """\n[sensor]\n"""\n',
        "sensor = 4\n",
    ],
)
def test_a_form_that_cannot_be_changed_by_line_is_refused(text):
    with pytest.raises(AgentError, match=r"so edit|Edit \[sensor\] yourself"):
        edited(text, {("sensor", "pin"): 17})


@pytest.mark.parametrize("value", ['a"b', "a\\b", "#", "tab\tand\x7f", "\udce9", "Jürgen's"])
def test_any_text_makes_a_file_that_is_toml(value):
    changed = edited(FILE, {("device", "id"): value})
    meant = "".join(c if c.isprintable() else "?" for c in value)
    assert tomllib.loads(changed)["device"]["id"] == meant
    again = edited(changed, {("device", "id"): "x"})
    assert tomllib.loads(again)["device"]["id"] == "x"


NAMES = st.sampled_from(["id", "pin", "driver"])
SECTIONS = st.sampled_from(["device", "sensor", "led"])
VALUES = st.one_of(st.none(), st.integers(0, 99), st.text(max_size=5))


@given(
    changes=st.lists(st.dictionaries(st.tuples(SECTIONS, NAMES), VALUES, max_size=3), max_size=3)
)
def test_only_what_is_meant_changes(changes):
    text = FILE
    for settings in changes:
        before = tomllib.loads(text)
        text = edited(text, settings)  # Which compares the meaning, and raises.
        assert set(before) <= set(tomllib.loads(text))
    assert "# The shed's." in text

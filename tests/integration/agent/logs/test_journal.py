import json
import socket
import subprocess
import sys

from optional import environment_with_packages, python_with_systemd
from places import ROOT

from agent.logs.events import LogEvent
from agent.logs.journal import escaped

# Logs through systemd's JournalHandler, and prints what the handler sends.
TO_JOURNAL = """
import json, logging, sys
from agent.logs import journal
from agent.logs.events import LogEvent
sent = []
handler = journal._journal_handler("pi-1", lambda text, **fields: sent.append([text, fields]))
log = logging.getLogger("agent.test")
log.addHandler(handler)
log.propagate = False
log.setLevel("DEBUG")
for line in sys.stdin:
    level, text, arguments, fields = json.loads(line)
    try:
        raise ValueError("bad\\x1b[31m\\n<0>forged") if level == "exception" else ValueError
    except ValueError:
        getattr(log, level)(text, *arguments, extra=LogEvent.SENSOR_FAILED.about(**fields))
print(json.dumps(sent))
"""


def through_journal_handler(*records):
    done = subprocess.run(
        [python_with_systemd(), "-W", "error", "-c", TO_JOURNAL],
        input="\n".join(json.dumps(record) for record in records),
        env=environment_with_packages(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_record_reaches_the_journal_with_its_fields():
    [[text, fields]] = through_journal_handler(
        ["warning", "No readings (%s).", ["checksum"], {"FAULT": "checksum", "PIN": 4}]
    )
    assert text == "No readings (checksum)."
    assert fields.pop("CODE_FILE").endswith("string>")
    assert fields.pop("CODE_LINE") > 0
    assert fields == {
        "MESSAGE_ID": LogEvent.SENSOR_FAILED.value,
        "FAULT": "checksum",
        "PIN": 4,
        "DEVICE_ID": "pi-1",
        "SYSLOG_IDENTIFIER": "sensor-agent",
        "PRIORITY": "4",
        "LOGGER": "agent.test",
        "THREAD_NAME": "MainThread",
        "PROCESS_NAME": "MainProcess",
        "CODE_FUNC": "<module>",
    }


def test_levels_have_the_journals_priorities():
    sent = through_journal_handler(
        *([level, "x", [], {}] for level in ("debug", "info", "warning", "error"))
    )
    assert [fields["PRIORITY"] for _, fields in sent] == ["7", "6", "4", "3"]


def test_text_from_the_cloud_is_escaped_in_message_and_fields():
    evil = "a\nPRIORITY=0\x1b[31m\x00\u202eb\ud800"
    [[text, fields]] = through_journal_handler(
        ["warning", "Refused command %s.", [evil], {"COMMAND": evil}]
    )
    assert text == f"Refused command {escaped(evil)}."
    assert fields["COMMAND"] == escaped(evil) == r"a\nPRIORITY=0\x1b[31m\x00\u202eb\ud800"
    assert not any(evil in str(value) for value in fields.values())


def test_a_traceback_follows_its_message_and_cannot_forge_a_line():
    [[text, fields]] = through_journal_handler(["exception", "It failed.", [], {}])
    first, *rest = text.split("\n")
    assert first == "It failed."
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in text
    assert "EXCEPTION_TEXT" not in fields


def test_notices_go_through_systemds_library(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        subprocess.run(
            [
                python_with_systemd(),
                "-c",
                (
                    "from agent.logs.journal import notify;"
                    "notify(READY='1', STATUS='21.4 °C\\nMAINPID=1')"
                ),
            ],
            env=environment_with_packages(NOTIFY_SOCKET=str(tmp_path / "notify")),
            check=True,
            timeout=60,
        )
        assert listener.recv(1000).decode() == "READY=1\nSTATUS=21.4 °C\\nMAINPID=1"


def test_a_notice_that_nobody_reads_does_no_harm(tmp_path):
    subprocess.run(
        [
            python_with_systemd(),
            "-c",
            "from agent.logs.journal import notify; notify(WATCHDOG='1')",
        ],
        env=environment_with_packages(NOTIFY_SOCKET=str(tmp_path / "gone")),
        check=True,
        timeout=60,
    )


def test_the_module_imports_neither_systemd_nor_asyncio():
    script = (
        "import agent.logs.journal, sys; print('systemd' in sys.modules, 'asyncio' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "False"]

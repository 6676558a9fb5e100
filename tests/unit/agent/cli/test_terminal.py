import io
import os
import sys
import threading
from contextlib import suppress

import pytest

from agent.cli import terminal
from agent.cli.terminal import _ErrorOutput, _Output, _stream
from agent.errors import OutputError


@pytest.fixture(autouse=True)
def prepared():
    terminal.prepare()


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        with suppress(OSError):  # The test has closed it.
            os.close(descriptor)


@pytest.mark.parametrize(
    ("encoding", "text", "written"),
    [
        ("ascii", "21.5 °C", b"21.5 deg C"),
        ("latin-1", "21.5 °C", b"21.5 \xb0C"),
        ("cp437", "21.5 °C 5 Ω", b"21.5 \xf8C 5 \xea"),
        ("utf-8", "21.5 °C", "21.5 °C".encode()),
        ("ascii", "4.7 kΩ", b"4.7 kOhm"),
        ("ascii", "zoë-keys", rb"zo\xeb-keys"),
        ("latin-1", "ключ", rb"\u043a\u043b\u044e\u0447"),
        ("utf-8", os.fsdecode(b"caf\xe9"), rb"caf\xe9"),
        ("ascii", os.fsdecode(b"caf\xe9"), rb"caf\xe9"),
        ("utf-8", "half a character: \ud800", rb"half a character: \ud800"),
        ("ascii", "\U0001f321", rb"\U0001f321"),
    ],
)
def test_any_text_can_be_written_in_any_encoding(encoding, text, written):
    assert text.encode(encoding, terminal.ERRORS) == written


def test_only_output_is_replaced_never_input():
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", terminal.ERRORS)


def output(descriptor, **like):
    python = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", **like)
    return _stream(python, _Output(descriptor, "wb", closefd=False))


@pytest.mark.parametrize("like", [{}, {"line_buffering": True}, {"write_through": True}])
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_closed_pipe_is_detected_with_any_buffering(pipe, like, size):
    os.close(pipe[0])
    stream = output(pipe[1], **like)
    with pytest.raises(OutputError) as caught:
        print("x" * size, file=stream, flush=True)
    assert caught.value.reader_is_gone
    _forget(stream, pipe[1])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_a_full_disk_is_reported_with_its_reason():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    stream = output(descriptor)
    with pytest.raises(OutputError, match=r"standard output: No space left on device\.") as caught:
        print("x", file=stream, flush=True)
    assert not caught.value.reader_is_gone
    _forget(stream, descriptor)
    os.close(descriptor)


def _forget(stream, descriptor):
    """Discard the buffer of the stream, as `terminal.report` does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    stream.flush()


def test_a_non_blocking_pipe_gets_everything(pipe):
    read, write = pipe
    os.set_blocking(write, False)
    chunks = []

    def drain():
        while chunk := os.read(read, 65536):
            chunks.append(chunk)

    reader = threading.Thread(target=drain)
    reader.start()
    print("x" * 1_000_000, file=output(write), flush=True)
    os.close(write)
    reader.join()
    assert sum(map(len, chunks)) == 1_000_001


def test_standard_error_never_fails(pipe):
    os.close(pipe[0])
    stream = _stream(None, _ErrorOutput(pipe[1], "wb", closefd=False))
    print("x" * 100_000, file=stream, flush=True)


def test_the_status_of_a_command_is_kept_and_argparse_may_end_it():
    assert terminal.run(lambda: 7) == 7
    with pytest.raises(SystemExit):
        terminal.run(lambda: sys.exit(2))

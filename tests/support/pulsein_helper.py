"""A simulation of Blinka's helper libgpiod_pulsein: its protocol and its failures.

`run` is called in a process of its own with the arguments of the program.
"""

import os
import time

# Imported before the child replaces it with `marked_queue`. The helper only opens a queue, and
# only root could open it with a mode that the queue does not grant.
from sysv_ipc import MessageQueue
from trains import frame, train


def run(arguments, mode):
    key = int(arguments[arguments.index("--queue") + 1])
    chip, line = arguments[-2:]
    if mode == "no chip":
        stop(f"Unable to open chip: {chip}")
    if mode == "no start":
        stop("")
    messages = MessageQueue(key)
    messages.send(b"!", type=2)
    if mode == "busy":
        stop(f"Unable to set line {line} to input")
    pulses = []
    while True:
        command = messages.receive(type=1)[0].decode()
        if command.startswith("t"):
            pulses = triggered(mode)
        elif command == "c":
            pulses = []
        elif command == "l":
            messages.send(str(len(pulses)).encode(), type=2)
        elif command == "^":
            messages.send(str(pulses.pop(0) if pulses else -1).encode(), type=2)


def triggered(mode):
    if mode == "dies":
        os._exit(1)
    if mode == "hangs":
        time.sleep(3600.0)
    return [] if mode == "silent" else train(frame(21.5, 45.0))[2:]


def stop(message):
    os.write(1, message.encode() + b"\n")
    os._exit(1)

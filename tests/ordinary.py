"""Doing things as an ordinary user, whoever runs the tests."""

import sys
from pathlib import Path

SOURCES = Path(__file__).parent.parent

# Root ignores modes: what is about permissions runs as somebody else. The interpreter may be where
# only root can read, so it becomes somebody else once it has all that it needs.
BECOME_ORDINARY = """
import os, sys
import agent.at_hand, agent.run
from agent.cli import main
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""
AS_ORDINARY_USER = [sys.executable, "-c", BECOME_ORDINARY]

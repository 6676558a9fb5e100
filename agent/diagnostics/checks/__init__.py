"""The checks, a module for each topic. Their order here is the order in which they run."""
# ruff: noqa: I001 - see above

from agent.diagnostics.checks import software as software
from agent.diagnostics.checks import gpio as gpio
from agent.diagnostics.checks import hardware as hardware
from agent.diagnostics.checks import limits as limits
from agent.diagnostics.checks import machine as machine
from agent.diagnostics.checks import storage as storage
from agent.diagnostics.checks import journal as journal
from agent.diagnostics.checks import network as network

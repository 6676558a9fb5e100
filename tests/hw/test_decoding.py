"""The real adafruit_dht, as our child process uses it, on pulse trains in virtual time."""

import importlib
import random
import sys
from collections import Counter
from types import ModuleType

import pytest
import trains
from trains import LIMITS, frame, frame_of_dht11, train

from hw import Reading
from hw.dht22_worker import attempt, open_device
from hw.frame import clone_corrected
from hw.policy import Policy

pytest.importorskip("adafruit_dht", reason="the extra test installs adafruit-circuitpython-dht")

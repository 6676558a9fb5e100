"""A daemon as commands and properties see it. It records what they do."""

from agent.device.limit_properties import LimitProperties
from agent.device.limits import NO_LIMITS


def limit_properties(*, file=NO_LIMITS, operator=None, unit="celsius"):
    """Return the limits as properties; none is set."""
    return LimitProperties(file=file, operator=operator or {}, unit=unit)


class OperatedDaemon:
    """`done` lists what the LED and the sampler were ordered; while `broken`, they raise it."""

    def __init__(self):
        self.done = []
        self.kept = {}
        self.reported = {}
        self.background = []
        self.broken = None
        self.diagnosis = "all is well"

    @property
    def led(self):
        return self

    def _do(self, *order):
        if self.broken:
            raise self.broken
        self.done.append(order)

    async def on(self):
        self._do("on")

    async def off(self):
        self._do("off")

    async def blink(self, period):
        self._do("blink", period)

    async def set_brightness(self, level):
        self._do("brightness", level)

    def set_interval(self, seconds):
        self._do("interval", seconds)

    def set_limits(self, values):
        self._do(
            "limits", {name: value for name, value in values.items() if value != NO_LIMITS[name]}
        )

    async def diagnose(self):
        if self.broken:
            raise self.broken
        return self.diagnosis

    def report(self, properties):
        self.reported.update(properties)

    def start_task(self, work, name):
        self.background.append(work)

    async def get(self, key):
        return self.kept.get(key)

    async def put(self, key, value):
        self.kept[key] = value

"""`/metrics` for Prometheus: central itself, and the devices' last values.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import os
import resource
import sqlite3
import time
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from central.console.responses import CENTRAL, look_up_long
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.storage import last_values, retention
from central.storage.last_values import LastValues
from central.transport.admission import Admission

routes = Routes()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A value is stale after this many seconds, or after this many times the usual pause between two.
STALE = 300.0  # Prometheus's own limit, too.
STALE_FACTOR = 3.0

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its samples. `kind` is gauge or counter."""

    name: str
    kind: str
    text: str
    samples: tuple[tuple[Labels, float], ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database says."""

    devices: tuple[str, ...]
    messages: int  # Ever received.
    bytes_used: int
    last: LastValues


@routes.on("GET", "/metrics", needs=Permission.VIEW)
async def get_metrics(request: web.Request) -> web.Response:
    """Return all metrics in Prometheus's text format."""
    central = request.app[CENTRAL]
    recorded = await look_up_long(request, _recorded)
    presence = central.hub.presence
    connected = {each for each in recorded.devices if presence.connected_since(each) is not None}
    metrics = [
        *central_metrics(recorded, connected, central.admission),
        *device_metrics(recorded, connected, central.settings.clock()),
        *process_metrics(),
    ]
    return web.Response(body=render(metrics).encode(), headers={"Content-Type": CONTENT_TYPE})


def _recorded(db: sqlite3.Connection) -> Recorded:
    devices = tuple(row[0] for row in db.execute("SELECT id FROM devices ORDER BY id"))
    counted = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    return Recorded(
        devices,
        0 if counted is None else counted[0],
        retention.bytes_used(db),
        last_values.last_values(db),
    )


def central_metrics(
    recorded: Recorded, connected: AbstractSet[str], admission: Admission
) -> list[Metric]:
    """Return the metrics of central as a whole. `connected` has device ids."""
    return [
        _gauge("sensor_agent_central_devices", "Devices.", len(recorded.devices)),
        _gauge("sensor_agent_central_devices_connected", "Connected devices.", len(connected)),
        Metric(
            "sensor_agent_central_messages_total",
            "counter",
            "Messages received from devices since the first start.",
            (({}, recorded.messages),),
        ),
        _gauge("sensor_agent_central_database_bytes", "Database in use.", recorded.bytes_used),
        Metric(
            "sensor_agent_central_clients",
            "gauge",
            "MQTT clients that have not signed in: before TLS (silent), and after (waiting).",
            (
                ({"state": "silent"}, admission.silent.count),
                ({"state": "waiting"}, admission.waiting.count),
            ),
        ),
        Metric(
            "sensor_agent_central_refused_connections_total",
            "counter",
            "MQTT connections closed at once because their address opened too many.",
            (({}, admission.refused),),
        ),
        _gauge(
            "sensor_agent_central_values_left_out",
            "Devices whose last values are not all here because there are too many.",
            recorded.last.left_out,
        ),
    ]


def device_metrics(recorded: Recorded, connected: AbstractSet[str], now: float) -> list[Metric]:
    """Return the state of each device, and its last values. A stale value has only its age."""
    values: list[tuple[Labels, float]] = []
    ages: list[tuple[Labels, float]] = []
    for last in recorded.last.found:
        labels = {"device": last.device_id, "component": last.component, "name": last.name}
        age = max(0.0, now - last.time)
        ages.append((labels, age))
        if age <= max(STALE, STALE_FACTOR * last.interval):
            values.append((labels, last.value))
    states = [({"device": each}, int(each in connected)) for each in recorded.devices]
    return [
        Metric(
            "sensor_agent_device_connected",
            "gauge",
            "Whether the device is connected.",
            tuple(states),
        ),
        Metric(
            "sensor_agent_device_value",
            "gauge",
            "Last value of a device's telemetry. Missing if it is stale.",
            tuple(values),
        ),
        Metric(
            "sensor_agent_device_value_age_seconds",
            "gauge",
            "Time since the device took that value, also if it is stale.",
            tuple(ages),
        ),
    ]


def process_metrics() -> list[Metric]:
    """Return the metrics that every exporter has of its own process, by their usual names."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    metrics = [
        Metric(
            "process_cpu_seconds_total",
            "counter",
            "CPU time used.",
            (({}, used.ru_utime + used.ru_stime),),
        ),
        _gauge("process_start_time_seconds", "Start of the process, in unix seconds.", STARTED),
    ]
    with suppress(OSError):  # Only Linux has these.
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        size = pages * resource.getpagesize()
        metrics.append(_gauge("process_resident_memory_bytes", "Resident memory.", size))
        files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number
        metrics.append(_gauge("process_open_fds", "Open file descriptors.", files))
    return metrics


STARTED = time.time()


def _gauge(name: str, text: str, value: float) -> Metric:
    return Metric(name, "gauge", text, (({}, value),))


def render(metrics: Iterable[Metric]) -> str:
    """Return metrics in the text format, version 0.0.4."""
    lines: list[str] = []
    for metric in metrics:
        help_text = metric.text.replace("\\", r"\\").replace("\n", r"\n")
        lines += [f"# HELP {metric.name} {help_text}", f"# TYPE {metric.name} {metric.kind}"]
        lines += [f"{metric.name}{_labels(labels)} {value!r}" for labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = [f'{name}="{_escaped(value)}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

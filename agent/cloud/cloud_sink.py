"""Puts the sink with a cloud together: settings, outbox, properties and uplink."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from agent.cloud.hub import AzureHub
from agent.cloud.move import COMMAND, Moves
from agent.cloud.uplink import Daemon, Uplink
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig, Config
from agent.device.commands import Commands
from agent.device.limit_properties import LimitProperties
from agent.device.limits import configured
from agent.device.model import model_id
from agent.device.properties import Properties, defaults, stored_limits, stored_values
from agent.readings.disk import Directory
from agent.readings.outbox import OUTBOX_NAME, Outbox
from agent.storage.assignment import StoredAssignment
from agent.storage.machine_id import board_id
from agent.storage.settings import Settings

JUST_BOOTED = 300.0  # Seconds of uptime in which all devices of a site may start together.
FIRST_DELAY = 20.0  # Seconds before the first connection then, at most.


@asynccontextmanager
async def cloud_sink(
    daemon: Daemon,
    *,
    config: Config,
    cloud: CloudConfig,
    credentials: Credentials,
    state: Path,
) -> AsyncIterator[Uplink]:
    """Open the state directory and what needs it. Raises StoreInUse."""
    async with AsyncExitStack() as held:
        settings = await Settings.open(state, board=board_id())
        held.push_async_callback(settings.close)
        outbox = Outbox(
            Directory(state / OUTBOX_NAME, before_create=settings.lock.take),
            state=state,
            clock=daemon.clock,
            board=board_id(),
            max_age_days=config.outbox.max_age_days,
            max_megabytes=config.outbox.max_megabytes,
        )
        held.push_async_callback(outbox.close)
        await outbox.open()
        properties = Properties(
            daemon,
            settings,
            defaults=defaults(config.sensor.interval),
            stored=await stored_values(settings),
            limits=LimitProperties(
                file=configured(config.limits),
                operator=await stored_limits(settings),
                unit=config.sensor.unit,
            ),
            property_format=cloud.property_format,
        )
        moves = Moves(
            settings,
            (cloud.provisioning_host, cloud.id_scope, config.device.id),
            allowed=cloud.allow_move,
            clock=daemon.clock,
        )
        await moves.load()
        just_booted = daemon.clock.uptime() < JUST_BOOTED and config.sensor.driver != "fake"
        yield Uplink(
            daemon,
            outbox=outbox,
            hub=AzureHub(
                cloud=cloud,
                credentials=credentials,
                device_id=config.device.id,
                model_id=model_id(config.sensor.unit),
            ),
            moves=moves,
            assignments=lambda id_scope: StoredAssignment(
                settings, _registration(cloud, id_scope, config.device.id)
            ),
            commands=Commands(daemon, {COMMAND: moves.device_move}),
            properties=properties,
            settings=settings,
            unit=config.sensor.unit,
            max_rate=cloud.max_rate,
            first_delay=FIRST_DELAY if just_booted else 0.0,
        )


def _registration(
    cloud: CloudConfig, id_scope: str | None, device_id: str
) -> tuple[str, str, str] | None:
    """Return what the provisioning service is asked; None if the configuration names the hub."""
    if id_scope is None:
        return None
    return cloud.provisioning_host, id_scope, device_id

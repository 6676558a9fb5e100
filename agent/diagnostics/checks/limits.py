"""The limits in force, compared with what the sensor can measure."""

from agent.config.loader import SensorConfig
from agent.device.limits import LIMITS, NO_LIMITS, Quantity, configured
from agent.diagnostics.examination import Examination
from agent.diagnostics.finding import Finding, ok, skipped, warning
from agent.diagnostics.registry import check
from agent.diagnostics.status_text import limit_text
from hw.sensors.models import MODELS


@check("limits", needs=("configuration",))
def limits(examination: Examination) -> Finding:
    """Find a limit that no reading can cross, because the sensor does not measure beyond it."""
    in_force = _in_force(examination)
    if not in_force:
        return skipped("no limit is set")
    sensor = examination.config.sensor
    for name, value in in_force.items():
        limit, (lowest, highest) = LIMITS[name], _reported(sensor, LIMITS[name].quantity)
        if value <= lowest if limit.is_low else value >= highest:
            end = lowest if limit.is_low else highest
            return warning(
                f"The limit {name} ({limit_text(name, value, sensor.unit)}) cannot be crossed: the "
                f"{'lowest' if limit.is_low else 'highest'} reading of this sensor is "
                f"{limit_text(name, end, sensor.unit)}.",
                f"Set {limit.key} in [limits], or the property {name} if the operator has set it, "
                "to a value that the sensor can measure.",
            )
    return ok("The sensor can measure beyond each limit.")


def _in_force(examination: Examination) -> dict[str, float]:
    """Return the limits in force by property, in degrees Celsius and percent."""
    status = examination.status
    if status is not None and status.limits is not None:
        return {name: value for name, value in status.limits.in_force.items() if name in LIMITS}
    values = configured(examination.config.limits)
    return {name: value for name, value in values.items() if value != NO_LIMITS[name]}


def _reported(sensor: SensorConfig, quantity: Quantity) -> tuple[float, float]:
    """Return the lowest and the highest value that can be reported.

    A temperature must be in the sensor's range with and without its offset. Humidity with its
    offset is cut off at 0 and 100 %.
    """
    model = MODELS[sensor.model]
    if quantity is Quantity.TEMPERATURE:
        offset = sensor.temperature_offset
        return model.coldest + max(0.0, offset), model.hottest + min(0.0, offset)
    offset = sensor.humidity_offset
    return max(0.0, model.driest + offset), min(100.0, model.wettest + offset)

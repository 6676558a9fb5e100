"""`/metrics` over HTTP."""

import re
import time

from consoles import record

SAMPLE = re.compile(r'[a-z_]+(?:\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?[0-9.e+-]+')


async def test_metrics_name_central_and_the_devices_values(central, http):
    central.registry.add_device("pi-1")
    central.registry.add_device("pi-2")
    await record(central, {"temp": 21.5, 'odd"\n': 1})
    await record(central, {"temp": 9.5}, device="pi-2", created=time.time() - 3600)
    async with http.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = (await response.text()).splitlines()
    assert all(SAMPLE.fullmatch(line) for line in lines if not line.startswith("# "))
    assert 'sensor_agent_device_value{device="pi-1",component="",name="temp"} 21.5' in lines
    assert 'sensor_agent_device_connected{device="pi-1"} 0' in lines
    assert "sensor_agent_central_devices 2" in lines
    assert "sensor_agent_central_messages_total 2" in lines
    old = 'device="pi-2",component="",name="temp"'
    assert not any(line.startswith(f"sensor_agent_device_value{{{old}}}") for line in lines)
    (age,) = [
        line for line in lines if line.startswith(f"sensor_agent_device_value_age_seconds{{{old}}}")
    ]
    assert 3600 <= float(age.split()[-1]) < 3700

"""Device models in DTDL, with what published models have.

Written for these tests, after reading models in https://github.com/Azure/iot-plugandplay-models:
components, inheritance, schemas of an interface, localised names, semantic types, IoT Central's
schemas, and so on. Published models are tested with DTDL_MODELS: see CONTRIBUTING.md.
"""

import json
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

Interface = dict[str, Any]
DTDL_2, DTDL_3 = "dtmi:dtdl:context;2", "dtmi:dtdl:context;3"
OF_CENTRAL = ["dtmi:iotcentral:context;2", DTDL_2]


def dtmi(name: str, version: str = "1") -> str:
    return f"dtmi:sensoragent:test:{name};{version}"


def interface(
    name: str, *contents: Interface, version: str = "1", context: Any = DTDL_2, **more: Any
) -> Interface:
    about = {"@context": context, "@id": dtmi(name, version), "@type": "Interface"}
    return {**about, "displayName": name, "contents": list(contents), **more}


def telemetry(name: str, schema: Any = "double", semantic: str = "", **more: Any) -> Interface:
    types = ["Telemetry", semantic] if semantic else "Telemetry"
    return {"@type": types, "name": name, "schema": schema, **more}


def reported(name: str, schema: Any = "string", **more: Any) -> Interface:
    return {"@type": "Property", "name": name, "schema": schema, **more}


def writable(name: str, schema: Any = "double", **more: Any) -> Interface:
    return reported(name, schema, writable=True, **more)


def command(name: str, request: Any = None, response: Any = None, **more: Any) -> Interface:
    payloads = {}
    if request is not None:
        payloads["request"] = {"name": "request", "schema": request}
    if response is not None:
        payloads["response"] = {"name": "response", "schema": response}
    return {"@type": "Command", "name": name, **payloads, **more}


def component(name: str, schema: Any, **more: Any) -> Interface:
    return {"@type": "Component", "name": name, "schema": schema, **more}


def enum(values: dict[str, Any], **more: Any) -> Interface:
    kind = "integer" if all(isinstance(value, int) for value in values.values()) else "string"
    listed = [{"name": name, "enumValue": value} for name, value in values.items()]
    return {"@type": "Enum", "valueSchema": kind, "enumValues": listed, **more}


def fields(**schemas: Any) -> Interface:
    listed = [{"name": name, "schema": schema} for name, schema in schemas.items()]
    return {"@type": "Object", "fields": listed}


def array(schema: Any) -> Interface:
    return {"@type": "Array", "elementSchema": schema}


def mapping(schema: Any) -> Interface:
    key, value = {"name": "key", "schema": "string"}, {"name": "value", "schema": schema}
    return {"@type": "Map", "mapKey": key, "mapValue": value}


CELSIUS = {"unit": "degreeCelsius"}
THERMOSTAT = interface(
    "Thermostat",
    telemetry("temperature", "double", "Temperature", **CELSIUS),
    writable("targetTemperature", "double", **CELSIUS),
    reported("maxTempSinceLastReboot", "double", **CELSIUS),
    command(
        "getMaxMinReport",
        "dateTime",
        fields(maxTemp="double", minTemp="double", startTime="dateTime"),
    ),
)
INFORMATION = interface(
    "Information",
    *(reported(name) for name in ("manufacturer", "model", "swVersion", "osName")),
    *(reported(name, "double", unit="kibibyte") for name in ("totalStorage", "totalMemory")),
)
SENSOR = interface("BaseSensor", writable("enabled", "boolean"), displayName={"en": "Base sensor"})
VECTOR = {"@id": dtmi("Motion:vector"), **fields(x="double", y="double", z="double")}
MOTION = interface(
    "Motion",
    telemetry("acceleration", VECTOR["@id"], displayName={"en": "Acceleration"}),
    telemetry("rotation", VECTOR["@id"], displayName={"en": "Rotation"}),
    extends=[SENSOR["@id"]],
    schemas=[VECTOR],
)
STEP = {"@id": dtmi("Update:step"), **fields(resultCode="integer", resultDetails="string")}
WORKFLOW = {"@id": dtmi("Update:workflow"), **fields(action="integer", id="string")}
UPDATE = interface(
    "Update",
    reported("agent", dtmi("Update:agent")),
    writable("service", dtmi("Update:service")),
    schemas=[
        STEP,
        WORKFLOW,
        {
            "@id": dtmi("Update:agent"),
            **fields(state="integer", workflow=WORKFLOW["@id"], steps=mapping(STEP["@id"])),
        },
        {
            "@id": dtmi("Update:service"),
            **fields(workflow=WORKFLOW["@id"], manifest="string", files=mapping("string")),
        },
    ],
)

# Each is the device's model, and the interfaces that it refers to.
MODELS: list[list[Interface]] = [
    [THERMOSTAT],
    [INFORMATION],
    [
        interface(
            "TemperatureController",
            telemetry("workingSet", "double", "DataSize", unit="kibibyte"),
            reported("serialNumber"),
            command("reboot", "integer"),
            component("thermostat1", THERMOSTAT["@id"], displayName="Thermostat One"),
            component("thermostat2", THERMOSTAT["@id"], displayName="Thermostat Two"),
            component("deviceInformation", INFORMATION["@id"]),
        ),
        THERMOSTAT,
        INFORMATION,
    ],
    [MOTION, SENSOR],
    [
        interface(
            "Phone",
            component("motion", MOTION["@id"]),
            component("device_info", INFORMATION["@id"]),
            command(
                "lightOn",
                fields(duration="integer", delay="integer", pulses="integer"),
                commandType="synchronous",
            ),
            command("forget", commandType="asynchronous"),
            writable("period", enum({"five": 5000, "ten": 10000})),
            writable("theme", enum({"light": 1, "dark": 2, "system": 0})),
        ),
        MOTION,
        SENSOR,
        INFORMATION,
    ],
    [UPDATE],
    [
        interface("UpdatableGateway", component("deviceUpdate", UPDATE["@id"]), version="3"),
        UPDATE,
    ],
    [
        interface(
            "DevelopmentBoard",
            *(command(f"toggleLed{n}") for n in (1, 2)),
            command("displayText", "string"),
            telemetry("temperature", "double", "Temperature", **CELSIUS),
            telemetry("humidity", "double", "RelativeHumidity", unit="percent"),
            telemetry("light", "double", "Illuminance", unit="lux"),
            telemetry("pressure", "double", "Pressure", unit="kilopascal"),
            telemetry("altitude", "double", "Distance", unit="metre"),
            *(telemetry(f"magnetometer{axis}", "integer") for axis in "XYZ"),
            telemetry("pitch", "integer", "Angle", unit="degreeOfArc"),
            telemetry("shake", "integer", "Acceleration", unit="gForce"),
            writable("telemetryFrequencySecs", "integer"),
        )
    ],
    [
        interface(
            "ChargingStation",
            telemetry("battery", "integer", unit="percent"),
            telemetry("rate", "integer", "Power", unit="watt"),
            telemetry("energy", "float", "Energy", unit="kilowattHour"),
            telemetry("charging", "boolean"),
            telemetry("station", "geopoint", "Location"),
            telemetry("remaining", "string"),
            telemetry("access", enum({"Authenticated": "Authenticated", "Rejected": "Rejected"})),
            writable("gridLimit", "integer", unit="ampere"),
            writable("tariff", "float"),
            command("terminate", commandType="synchronous"),
            context=OF_CENTRAL,
        )
    ],
    [
        interface(
            "AssetTracker",
            telemetry("shock", "vector", "AccelerationVector"),
            telemetry("position", "geopoint", "Location"),
            telemetry("movement", "integer"),
            reported("motion", enum({"Moving": "MOVING", "Static": "STATIC"})),
            reported("sos", enum({"Activated": 1, "NotActivated": 0})),
            reported("period", "double", unit="second"),
            reported("onDemand", "boolean", writable=False),
            writable("home", "geopoint"),
            command("setMode", enum({"Standby": "020a00", "Tracking": "020a01"})),
            displayName={"en": " Tracker "},
        )
    ],
    [
        interface(
            "AirQuality",
            telemetry("co2", "float", description={"en": "Parts per million"}),
            telemetry("pm25", "float", "Density", unit="microgramPerCubicMetre"),
            telemetry("noise", "double", "SoundPressure", unit="decibel"),
            telemetry("MsgId", "integer"),
            writable("alertLevel", "integer"),
            reported("hvac"),
        )
    ],
    [
        interface(
            "Greenhouse",
            component(
                "bed",
                interface("Bed", telemetry("moisture"), writable("water", "boolean")),
                displayName={"de": "Beet", "fr": "Planche"},
            ),
            displayName={"de": "Gewächshaus", "en": "Greenhouse", "ja": "温室"},
        )
    ],
    [
        interface(
            "PowerMeter",
            *(telemetry(f"voltage_{n}", "double", "Voltage", unit="volt") for n in range(1, 4)),
            *(telemetry(f"current_{n}", "double", "Current", unit="ampere") for n in range(1, 4)),
            telemetry("phases", array(fields(volt="double", ampere="double"))),
            telemetry("frequency", "double", "Frequency", unit="hertz"),
            command("resetCounters", array("string"), "boolean"),
        )
    ],
    [
        interface(
            "WeatherStation",
            telemetry("wind", "double", "Velocity", unit="metrePerSecond"),
            telemetry("direction", "double", "Angle", unit="degreeOfArc"),
            telemetry("rain", "double", "Length", unit="millimetre"),
            telemetry("pressure", "double", "Pressure", unit="millibar"),
            telemetry("sunrise", "time"),
            telemetry("day", "date"),
            telemetry("measured", "dateTime"),
        )
    ],
    [
        interface(
            "Washer",
            telemetry("remaining", "duration"),
            telemetry("program", enum({"cotton": 0, "wool": 1})),
            writable("delay", "duration"),
            writable("startAt", "time"),
            writable("serviceDay", "date"),
            writable("notBefore", "dateTime"),
            command("start", fields(program=enum({"cotton": 0, "wool": 1}), spin="integer")),
        )
    ],
    [
        interface(
            "Drone",
            telemetry("position", "point"),
            telemetry("route", "lineString"),
            telemetry("area", "multiPolygon"),
            command("fly", "polygon", "multiPoint"),
        )
    ],
    [
        interface(
            "Gateway",
            reported("modules", mapping("string")),
            writable("settings", mapping(fields(rate="integer", on="boolean"))),
            telemetry("load", mapping("double")),
            command("configure", mapping("string"), mapping("boolean")),
        )
    ],
    [
        interface(
            "Nested",
            writable("outer", fields(middle=fields(inner=fields(core=fields(value="double"))))),
            telemetry("deep", fields(a=fields(b=fields(c=fields(d="integer"))))),
        )
    ],
    [
        interface(
            "LongForm",
            telemetry("level", "dtmi:dtdl:instance:Schema:double;2", unit="centimetre"),
            telemetry("spot", "dtmi:standard:schema:geospatial:point;2"),
            telemetry("force", "dtmi:iotcentral:schema:vector;2"),
            writable("name", "dtmi:dtdl:instance:Schema:string;2"),
        )
    ],
    [interface("Empty")],
    [{"@id": dtmi("Bare"), "@type": "Interface"}],
    [
        interface(
            "Family",
            reported("own", "boolean"),
            extends=[dtmi("Parent"), dtmi("Aunt")],
        ),
        interface("Parent", telemetry("parent"), extends=dtmi("Grandparent")),
        interface("Aunt", telemetry("aunt"), extends=dtmi("Grandparent")),
        interface("Grandparent", telemetry("grandparent"), command("call")),
    ],
    [
        interface(
            "Room",
            {"@type": "Relationship", "name": "floor", "target": dtmi("Floor")},
            writable("occupied", "boolean"),
        )
    ],
    [
        interface(
            "Sensor3",
            telemetry("values", array("double")),
            writable("thresholds", array("double")),
            writable("zones", array(enum({"inside": "in", "outside": "out"}))),
            component("part", dtmi("Part3", "1.2")),
            version="2.1",
            context=[DTDL_3, "dtmi:dtdl:extension:quantitativeTypes;1"],
        ),
        interface(
            "Part3",
            telemetry("temperature", "double", "Temperature", **CELSIUS),
            command("check", None, "string"),
            version="1.2",
            context=[DTDL_3, "dtmi:dtdl:extension:quantitativeTypes;1"],
        ),
    ],
    [
        interface(
            "Camera",
            telemetry("state", enum({"idle": 1, "recording": 2}), "State"),
            {"@type": ["Telemetry", "Event"], "name": "alarm", "schema": "string"},
            writable("resolution", fields(width="integer", height="integer", hdr="boolean")),
            command("snapshot", fields(at="dateTime", note="string"), "string"),
        )
    ],
    [
        interface(
            "Lock",
            {"@type": ["Property", "Cloud"], "name": "owner", "schema": "string"},
            reported("locked", "boolean", displayName="Locked"),
            command("lock"),
            command("unlock", "string", fields(ok="boolean")),
        )
    ],
    [
        interface(
            "Industrial",
            *(telemetry(f"channel{n:02}", "double", unit="milliampere") for n in range(40)),
            *(writable(f"limit{n:02}", "double", unit="milliampere") for n in range(10)),
        )
    ],
    [
        interface(
            "SameNames",
            telemetry("value", displayName="Value"),
            writable("value2", displayName="Value"),
            component("a", dtmi("Inner"), displayName="Inner"),
            component("b", dtmi("Inner"), displayName="Inner"),
        ),
        interface("Inner", telemetry("value", displayName="Value"), command("run")),
    ],
    [
        interface(
            "Odd",
            telemetry("_under_score_1"),
            telemetry("unit_less", "double", unit="furlongPerFortnight"),
            writable("text", "string", displayName="<b>Text</b> & more", comment="Not shown"),
            command("say", "string", displayName={"sv": "Säg"}),
        )
    ],
    [
        interface(
            "UnknownParts",
            telemetry("known"),
            telemetry("reading", dtmi("SchemaThatIsElsewhere")),
            component("far", dtmi("InterfaceThatIsElsewhere")),
        )
    ],
    [
        interface(
            "Pump",
            telemetry("flow", "double", "VolumeFlowRate", unit="litrePerHour"),
            telemetry("speed", "integer", "AngularVelocity", unit="revolutionPerMinute"),
            telemetry("torque", "double", "Torque", unit="newtonMetre"),
            telemetry("volume", "long", "Volume", unit="cubicMetre"),
            writable("power", "double", unit="kilowatt"),
            command("prime", "duration", "duration"),
        )
    ],
    [
        interface(
            "Wearable",
            telemetry("pulse", "integer"),
            telemetry("sleep", array(fields(phase="string", length="duration"))),
            writable("goals", fields(steps="long", weight="double", wake="time")),
            reported("lastSync", "dateTime"),
        )
    ],
]


def published() -> Iterator[list[Interface]]:
    """Yield each model of the files in the directory that DTDL_MODELS names, if it is set.

    A model that is not complete has its other interfaces beside it, in the order of their names.
    """
    directory = os.environ.get("DTDL_MODELS")
    paths = sorted(Path(directory).rglob("*.json")) if directory else []
    found = {}
    for path in paths:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        for each in content if isinstance(content, list) else [content]:
            found[each["@id"]] = each
    for each in found.values():
        needed = {each["@id"]: each}
        for number in count():
            if number == len(needed):
                break
            for reference in references(list(needed.values())[number]):
                if reference in found:
                    needed[reference] = found[reference]
        yield list(needed.values())


def references(model: Interface) -> list[str]:
    extends = model.get("extends", [])
    schemas = [each.get("schema") for each in model.get("contents", [])]
    every = [*(extends if isinstance(extends, list) else [extends]), *schemas]
    return [each for each in every if isinstance(each, str)]

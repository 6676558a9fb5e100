// Properties of sensor-agent's model that are shown in their own way. All others are shown as their
// schema says.

export const LED = { state: "ledState", brightness: "brightness", blink: "blink" };

// `words` replace Yes and No. `kind` is the colour of a badge. `note` follows the value. `since` is
// the property with the time of the last change. What is `elsewhere` is not in the list.
const SPECIAL = new Map([
  [
    "state",
    {
      words: ["Online", "Offline"],
      kind: (value, device) => (value === true && device?.connected ? "fine" : "quiet"),
      // After a power cut, the device cannot report that it is offline.
      note: (value, device) => (value === true && !device?.connected ? "when last seen" : ""),
    },
  ],
  [
    "sensorStatus",
    {
      kind: (value) => ({ ok: "fine", starting: "busy" })[value] ?? "bad",
      since: "sensorStatusSince",
    },
  ],
  ["sensorStatusSince", { elsewhere: true }],
  [
    "limitStatus",
    { kind: (value) => ({ within: "fine", off: "quiet", unknown: "busy" })[value] ?? "bad" },
  ],
  ["sensorWarning", { kind: (value) => (value === "none" ? "quiet" : "busy") }],
  [
    "moveStatus",
    { kind: (value) => ({ none: "quiet", moving: "busy", moved: "fine" })[value] ?? "bad" },
  ],
  [LED.state, { elsewhere: true }],
]);

export function special(element) {
  return SPECIAL.get(element?.name) ?? {};
}

// The limits of telemetry, by its name, each with the value that means none, by its unit.
const LIMITS = {
  temp: [
    ["temperatureLow", { "°C": -40, "°F": -40 }],
    ["temperatureHigh", { "°C": 125, "°F": 257 }],
  ],
  humid: [
    ["humidityLow", { "%": 0 }],
    ["humidityHigh", { "%": 100 }],
  ],
};

// The limits that a device reports for this telemetry, and those it has not confirmed yet, as
// {label, value, pending}.
export function limitsOf(element, store) {
  return (LIMITS[element.key] ?? []).flatMap(([name, none]) => {
    const label = store.model?.properties.find((each) => each.key === name)?.label ?? name;
    const { value, about } = store.property(name);
    const { desiredValue: desired, desiredVersion, ackVersion } = about;
    const isAhead = desired !== undefined && !(ackVersion >= desiredVersion);
    return [
      { label, value, pending: false },
      { label, value: isAhead ? desired : undefined, pending: true },
    ].filter((each) => typeof each.value === "number" && each.value !== none[element.unit]);
  });
}

// Properties and commands of sensor-agent's model that are shown in their own way. All others are
// shown as their schema says.

export const LED = { state: "ledState", brightness: "brightness", blink: "blink" };

// `words` replace Yes and No. `kind` is the colour of a badge, for a value that holds now. `since` is
// the property with the time of the last change. The overview leaves out what is `elsewhere`, and a
// value that is `nothing`: it says only that there is nothing to report. `away` has other words for a
// value that a device's absence contradicts.
const SPECIAL = new Map([
  [
    "state",
    {
      words: ["Online", "Offline"],
      kind: (value) => (value === true ? "fine" : "quiet"),
      away: { true: "Was online" },
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
  ["sensorWarning", { kind: () => "busy", nothing: "none" }],
  [
    "moveStatus",
    {
      kind: (value) => ({ moving: "busy", moved: "fine" })[value] ?? "bad",
      nothing: "none",
    },
  ],
  [LED.state, { elsewhere: true }],
  ["DeviceMove", { elsewhere: true }], // Rarely used, and the device leaves.
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

// Whether the value of a limit means that there is none.
export function isNoLimit(element, value) {
  const found = Object.values(LIMITS).flat().find(([name]) => name === element?.key);
  return found !== undefined && found[1][element.unit] === value;
}

// The limits that a device reports for this telemetry, and those it has not confirmed yet, as
// {label, value, pending, since}. `since` is when the device reported it, in unix seconds.
export function limitsOf(element, store) {
  return (LIMITS[element.key] ?? []).flatMap(([name, none]) => {
    const label = store.model?.properties.find((each) => each.key === name)?.label ?? name;
    const { value, about } = store.property(name);
    const { desiredValue: desired, desiredVersion, ackVersion, lastUpdateTime } = about;
    const isAhead = desired !== undefined && !(ackVersion >= desiredVersion);
    return [
      { label, value, pending: false, since: lastUpdateTime ? Date.parse(lastUpdateTime) / 1000 : 0 },
      { label, value: isAhead ? desired : undefined, pending: true, since: 0 },
    ].filter((each) => typeof each.value === "number" && each.value !== none[element.unit]);
  });
}

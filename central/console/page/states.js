// The states of devices (see central/hub/device_state.py), and what is known of a device that is away.

import { h } from "./dom.js";
import { age, since, ticking, timeText, valueText } from "./format.js";
import { special } from "./special.js";

export const STATES = [
  ["reporting", "Reporting"],
  ["late", "Late"],
  ["silent", "Silent"],
  ["never_seen", "Never seen"],
  ["blocked", "Blocked"],
];
export const OPEN_ALERT = "Open alert";
// What the list counts: the states, and the devices with an alert, whatever state they are in.
export const COUNTED = [...STATES, ["alert", OPEN_ALERT]];
export const LABELS = new Map(STATES);
export const DEFINITIONS = new Map([
  ["reporting", "Connected, and the newest message is at most 2 intervals old, or at most 30 s."],
  ["late", "Not connected, or no message for more than 2 intervals."],
  ["silent", "No message for more than 5 intervals, and more than 5 min; not just connected."],
  ["never_seen", "Never connected."],
  ["blocked", "Blocked by the operator."],
  ["alert", "The condition of a rule holds, whether or not the alert was acknowledged."],
]);
const KINDS = { reporting: "fine", late: "busy", silent: "bad" };

export function stateBadge(device) {
  return h(
    "span",
    {
      class: "badge state",
      "data-kind": KINDS[device.state] ?? "quiet",
      "data-state": device.state,
      title: DEFINITIONS.get(device.state),
    },
    LABELS.get(device.state) ?? device.state,
  );
}

export function connectionText(device) {
  if (device.connected) return `Connected since ${timeText(device.connectedSince)}`;
  if (device.disconnectedSince) return `Disconnected since ${timeText(device.disconnectedSince)}`;
  if (device.lastSeen) return `Disconnected, last seen ${age(device.lastSeen)}`;
  return device.provisioned ? "Registered, never connected" : "Never connected";
}

// Whether what the device reported holds now. What a device reported that is away may have changed.
export function isPresent(device) {
  return Boolean(device?.connected && device.enabled);
}

// The words beside a reported value of a device that is away: "Last reported 3 h ago".
export function lastReported(about) {
  return ticking(h("small", { class: "muted last-reported" }), () =>
    about?.lastUpdateTime ? `Last reported ${age(about.lastUpdateTime)}` : "Last reported",
  );
}

// What a device reported of a property, as the content of an element.
export function reportedValue(store, element, shown = null) {
  const { value, about } = store.property(element.name, element.component ?? null);
  if (value === undefined) return h("span", { class: "muted" }, "Not reported yet");
  const content = shown ?? valueText(value, element);
  return isPresent(store.device) ? content : [content, " ", lastReported(about)];
}

// The same, with a badge for a status.
export function reportedStatus(store, element) {
  const { value } = store.property(element.name);
  const { kind, since: changed, away = {} } = special(element);
  if (value === undefined || !kind) return reportedValue(store, element);
  const present = isPresent(store.device);
  const badge = h(
    "span",
    { class: "badge", "data-kind": present ? kind(value) : "quiet" },
    (present ? null : away[value]) ?? valueText(value, element),
  );
  const from = changed && store.property(changed).value;
  if (!present || Number.isNaN(Date.parse(from))) return reportedValue(store, element, badge);
  return [
    badge,
    " ",
    ticking(h("small", { class: "muted", title: timeText(from) }), () => `for ${since(from)}`),
  ];
}

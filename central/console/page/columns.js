// The columns of the list of devices: which there are, and which of them this browser shows.

import { get } from "./api.js";
import { h } from "./dom.js";
import { age, number, ticking, timeText, withUnit } from "./format.js";
import { LATE } from "./messages.js";
import { special } from "./special.js";
import { OPEN_ALERT, connectionText, isPresent, reportedStatus, stateBadge } from "./states.js";

const KEY = "central-device-columns";
const SENSOR = "sensorStatus"; // Of sensor-agent's model.
const DAY = 86_400_000; // Milliseconds.
const USUAL = ["$state", "$readings", "$message"];

// By name: a label, and the function that returns the content of a cell for a device. No property has
// a name that begins with $.
const OWN = new Map([
  ["$state", ["State", stateCell]],
  ["$readings", ["Last readings", readingsCell]],
  ["$message", ["Last message", messageCell]],
  ["$model", ["Model", modelCell]],
  ["$id", ["Device ID", (device) => device.id]],
  ["$added", ["Added", (device) => timeText(device.created)]],
]);

export class Columns {
  // Calls `changed` after the choice has changed.
  constructor(changed) {
    this.changed = changed;
    this.models = null; // By id, once they are needed.
    this.chosen = readChosen();
    this.choices = h("div", { class: "choices" });
    this.element = h(
      "details",
      { class: "menu", ontoggle: () => this.element.open && this.offer() },
      h("summary", { class: "button" }, "Columns"),
      this.choices,
    );
  }

  // The names of the properties that are shown, for the request.
  properties() {
    return [SENSOR, ...this.chosen.filter((name) => !OWN.has(name) && name !== SENSOR)];
  }

  // Reads the models if a property is shown. Its label and its unit are there.
  async prepare() {
    if (this.chosen.some((name) => !OWN.has(name)) && !this.models) await this.readModels();
  }

  async readModels() {
    const { value } = await get("/console/api/models");
    this.models = new Map(value.map((model) => [model.id, model]));
  }

  // The chosen columns, each with its name, label and the content of a cell.
  shown() {
    return this.chosen.map((name) => {
      const own = OWN.get(name);
      if (own) return { name, label: own[0], content: own[1] };
      return {
        name,
        label: this.elements().get(name)?.title ?? name,
        content: (device) => this.propertyCell(device, name),
      };
    });
  }

  // The properties of all models, by key.
  elements() {
    const found = new Map();
    for (const model of this.models?.values() ?? [])
      for (const each of model.properties)
        if (!each.cloud && !found.has(each.key)) found.set(each.key, each);
    return found;
  }

  propertyCell(device, key) {
    const model = this.models?.get(device.template);
    const element = model?.properties.find((each) => each.key === key);
    if (model && !element) return h("span", { class: "muted" }, "Not in its model");
    const { value, ...about } = device.reported?.[key] ?? {};
    const [name] = key.split("*").slice(-1);
    const property = (asked) => (asked === name ? { value, about } : { about: {} });
    return reportedStatus({ device, property }, element ?? { name });
  }

  async offer() {
    try {
      await this.readModels();
    } catch {
      return; // Central does not respond. The top of the page says so.
    }
    const offered = [
      ...[...OWN].map(([name, [label]]) => [name, label]),
      ...[...this.elements()].map(([key, element]) => [key, element.title]),
    ];
    this.choices.replaceChildren(...offered.map(([name, label]) => this.choice(name, label)));
  }

  choice(name, label) {
    const input = h("input", { type: "checkbox", onchange: () => this.choose(name, input.checked) });
    input.checked = this.chosen.includes(name);
    return h("label", {}, input, " ", label);
  }

  choose(name, chosen) {
    this.chosen = this.chosen.filter((each) => each !== name);
    if (chosen) this.chosen.push(name);
    try {
      localStorage.setItem(KEY, JSON.stringify(this.chosen));
    } catch {
      // The browser stores nothing. The choice lasts until the list is closed.
    }
    this.changed();
  }
}

function readChosen() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY));
    if (Array.isArray(stored)) return stored.filter((name) => typeof name === "string");
  } catch {
    // Nothing is stored that can be read.
  }
  return [...USUAL];
}

function stateCell(device) {
  const connection = ticking(h("small", { class: "muted" }), () => connectionText(device));
  const alert = h("a", { class: "badge alert", "data-kind": "bad", href: "#/alerts" }, OPEN_ALERT);
  return [
    stateBadge(device),
    device.alert ? [" ", alert] : "",
    sensorFault(device),
    device.lastSeen ? connection : "",
  ].flat();
}

// A device can be connected, and its sensor not work.
function sensorFault(device) {
  const { value } = device.reported?.[SENSOR] ?? {};
  if (typeof value !== "string" || special({ name: SENSOR }).kind(value) !== "bad") return "";
  const kind = isPresent(device) ? "bad" : "quiet";
  return [" ", h("span", { class: "badge", "data-kind": kind }, `Sensor: ${value}`)];
}

function readingsCell(device) {
  if (!device.telemetry.length) return h("span", { class: "muted" }, "None yet");
  return device.telemetry.map(({ title, value, unit, kind, timestamp }) =>
    h(
      "span",
      { class: "reading", title: timeText(timestamp) },
      h("span", { class: "muted" }, title),
      " ",
      h("strong", {}, withUnit(number(value, kind), unit)),
      " ",
      ticking(h("small", { class: "muted" }), () => readingAge(device, timestamp)),
    ),
  );
}

// A reading that came late is older than the message with it.
function readingAge({ lastMessage }, timestamp) {
  const late = Date.parse(lastMessage) - Date.parse(timestamp) > LATE;
  return late ? `taken ${age(timestamp)}` : age(timestamp);
}

function messageCell({ lastMessage }) {
  if (!lastMessage) return "None yet";
  const date = Date.now() - Date.parse(lastMessage) > DAY && timeText(lastMessage);
  return [
    ticking(h("span"), () => age(lastMessage)),
    date ? h("small", { class: "muted" }, date) : "",
  ];
}

function modelCell(device) {
  return device.modelName ?? (device.template ? `${device.template} (not imported)` : "No model");
}

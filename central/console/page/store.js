// What the page knows about one device. It reads everything once, and then what central reports as
// changed.

import { ApiError, devicePath, get, pagePath, soon } from "./api.js";
import { listen } from "./events.js";
import { newerThan, readMessage } from "./messages.js";

const KINDS = ["device", "properties", "commands", "connections", "messages"];
const NUMERIC = new Set(["integer", "double"]);
const MOST_MESSAGES = 500;
const MOST_NUMBERS = 8; // Of a device, that get a tile and a chart.
const FIRST_MESSAGES = 100;
const AGAIN = 10_000; // Milliseconds.

// Why a tab has nothing to show.
export function missing({ model }, capabilities) {
  return model
    ? `The device's model has no ${capabilities}.`
    : "The device has no model, or its model is not imported.";
}

// The kinds to read again after an event of central.
const READ_AFTER = {
  device: ["device"],
  connection: ["device", "connections"],
  twin: ["properties", "commands"], // A long-running command completes with a reported property.
  command: ["commands"],
};

export class DeviceStore {
  device = null;
  model = null;
  properties = { $metadata: {} };
  commands = [];
  connections = [];
  messages = []; // Newest first.
  error = null;

  constructor(id) {
    this.id = id;
    this.asked = new Map(); // How often each kind was read, to know the newest answer.
    this.listeners = new Map();
    this.readers = new Map(KINDS.map((kind) => [kind, soon(() => this.read(kind))]));
  }

  // Calls `heard` at each change of a kind (see KINDS), at each new `message`, and once the device is
  // `deleted`.
  on(kind, heard) {
    if (!this.listeners.has(kind)) this.listeners.set(kind, []);
    this.listeners.get(kind).push(heard);
  }

  forget() {
    this.listeners.clear();
  }

  notify(kind, value) {
    for (const heard of this.listeners.get(kind) ?? []) heard(value);
  }

  async open() {
    await Promise.all(KINDS.map((kind) => this.read(kind)));
    if (this.closed) return;
    // A device becomes late without any event.
    this.timer = setInterval(() => document.hidden || this.readers.get("device")(), AGAIN);
    this.stop = listen(this.id, (kind, data) => this.heard(kind, data));
  }

  close() {
    this.forget();
    this.stop?.();
    clearInterval(this.timer);
    this.closed = true;
  }

  heard(kind, data) {
    if (kind === "everything") {
      for (const reader of this.readers.values()) reader();
    } else if (data.device === this.id) {
      if (data.message) this.add(data.message);
      for (const each of READ_AFTER[kind] ?? []) this.readers.get(each)();
    }
  }

  add(message) {
    if (this.messages.length && message.number <= this.messages[0].number) return;
    this.messages.unshift(message);
    this.messages.length = Math.min(this.messages.length, MOST_MESSAGES);
    if (this.device && message.received > (this.device.lastSeen ?? ""))
      this.device.lastSeen = message.received;
    if (this.device) this.device.lastMessage = message.received;
    if (this.device?.state !== "reporting") this.readers.get("device")();
    this.notify("message", message);
  }

  async read(kind) {
    if (this.closed) return;
    const turn = (this.asked.get(kind) ?? 0) + 1;
    this.asked.set(kind, turn);
    try {
      const found = await this.fetch(kind);
      if (this.closed || this.asked.get(kind) !== turn) return; // A newer request is under way.
      if (found.messages) found.messages.unshift(...newerThan(this.messages, found.messages));
      Object.assign(this, found, { error: null });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      if (kind === "device" && error.status === 404) this.notify("deleted");
    }
    this.notify(kind);
  }

  // Returns the fields of this store that a kind has.
  async fetch(kind) {
    if (kind === "device") {
      const device = await get(pagePath(this.id));
      const same = this.model && device.template === this.device?.template;
      return { device, model: same ? this.model : await get(pagePath(this.id, "model")) };
    }
    if (kind === "properties") return { properties: await get(devicePath(this.id, kind)) };
    const query = kind === "messages" ? `?limit=${FIRST_MESSAGES}` : "";
    return { [kind]: (await get(pagePath(this.id, kind) + query)).value };
  }

  // The value of a property, and its `$metadata`.
  property(name, component = null) {
    const place = component === null ? this.properties : (this.properties[component] ?? {});
    const known = Object.hasOwn(place, name);
    return { value: known ? place[name] : undefined, about: place.$metadata?.[name] ?? {} };
  }

  // The numbers that get a chart: those of the model, or else those in the last messages.
  numbers() {
    const telemetry = this.model?.telemetry ?? [];
    const modelled = telemetry.filter((each) => NUMERIC.has(each.schema.kind));
    if (modelled.length) return modelled.slice(0, MOST_NUMBERS);
    const others = new Set(telemetry.map((each) => each.key)); // Such as an enum of numbers.
    const keys = new Set();
    for (const message of this.messages.slice(0, 50)) {
      for (const [key, value] of readMessage(message, null).values)
        if (typeof value === "number" && !others.has(key)) keys.add(key);
    }
    const found = [...keys].slice(0, MOST_NUMBERS);
    return found.map((key) => ({ key, title: key, unit: "", schema: { kind: "number" } }));
  }

  // The other telemetry has its last value shown, and no chart.
  words() {
    const charted = new Set(this.numbers().map((each) => each.key));
    return (this.model?.telemetry ?? []).filter((each) => !charted.has(each.key));
  }
}

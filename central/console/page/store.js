// What the page knows of one device. It reads from central once, and anew what central says has
// changed.

import { ApiError, devicePath, get, pagePath, soon } from "./api.js";
import { listen } from "./events.js";
import { interfacesOf, isNumeric, readMessage, readModel, unmodelled } from "./model.js";

const MOST_MESSAGES = 500;
const MOST_NUMBERS = 8; // Of a device, that get a tile and a chart.
const FIRST_MESSAGES = 100;

// What an event of central makes worth reading again.
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
    this.readers = new Map(
      ["device", "properties", "commands", "connections", "messages"].map((kind) => [
        kind,
        soon(() => this.read(kind)),
      ]),
    );
  }

  // Calls `heard` at each change of `kind`: device, properties, commands, connections, messages;
  // at each new `message`; when events were `missed`; and once the device is `deleted`.
  on(kind, heard) {
    if (!this.listeners.has(kind)) this.listeners.set(kind, []);
    this.listeners.get(kind).push(heard);
  }

  forget() {
    this.listeners.clear();
  }

  tell(kind, value) {
    for (const heard of this.listeners.get(kind) ?? []) heard(value);
  }

  async open() {
    await Promise.all(
      ["device", "properties", "commands", "connections", "messages"].map((kind) =>
        this.read(kind),
      ),
    );
    if (!this.closed) this.stop = listen(this.id, (kind, data) => this.heard(kind, data));
  }

  close() {
    this.forget();
    this.stop?.();
    this.closed = true;
  }

  heard(kind, data) {
    if (kind === "everything") {
      for (const reader of this.readers.values()) reader();
      this.tell("missed");
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
    this.tell("message", message);
  }

  async read(kind) {
    if (this.closed) return;
    const turn = (this.asked.get(kind) ?? 0) + 1;
    this.asked.set(kind, turn);
    try {
      const take = await this.readNow(kind);
      if (this.closed || this.asked.get(kind) !== turn) return; // A newer question is under way.
      take();
      this.error = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      if (kind === "device" && error.status === 404) this.tell("deleted");
    }
    this.tell(kind);
  }

  // Asks central; returns what takes the answer over.
  async readNow(kind) {
    if (kind === "device") {
      const device = await get(pagePath(this.id));
      const anew = device.template !== this.device?.template || !this.model;
      const model = anew ? await fetchModel(device.template) : this.model;
      return () => Object.assign(this, { device, model });
    }
    if (kind === "properties") {
      const properties = await get(devicePath(this.id, "properties"));
      return () => (this.properties = properties);
    }
    if (kind === "messages") {
      const { value } = await get(`${pagePath(this.id, "messages")}?limit=${FIRST_MESSAGES}`);
      return () => (this.messages = [...newerThan(this.messages, value), ...value]);
    }
    const { value } = await get(pagePath(this.id, kind));
    return () => (this[kind] = value);
  }

  // A property as central knows it: its value, and what the twin says about it.
  property(name, component = null) {
    const place = component === null ? this.properties : (this.properties[component] ?? {});
    const known = Object.hasOwn(place, name);
    return { value: known ? place[name] : undefined, about: place.$metadata?.[name] ?? {} };
  }

  // The numbers that can be drawn: from the model, else those that the last messages had.
  numbers() {
    if (this.model) {
      const numeric = this.model.telemetry.filter(isNumeric);
      if (numeric.length) return numeric.slice(0, MOST_NUMBERS);
    }
    const names = new Set();
    for (const message of this.messages.slice(0, 50)) {
      for (const [name, value] of Object.entries(readMessage(message, null).rest ?? {}))
        if (typeof value === "number") names.add(name);
    }
    return unmodelled([...names].slice(0, MOST_NUMBERS));
  }

  // Telemetry that is no number: its last value is shown, and no chart.
  words() {
    const others = (this.model?.telemetry ?? []).filter((each) => !isNumeric(each));
    return others.slice(0, MOST_NUMBERS);
  }
}

// Of messages, newest first, those that came after an answer was written. It may be on its way while
// they come, and must not take them away again.
export function newerThan(messages, answer) {
  const newest = answer[0]?.number ?? 0;
  return messages.filter((message) => message.number > newest);
}

export async function fetchModel(dtmi) {
  return dtmi ? readModel(await fetchInterfaces(), dtmi) : null;
}

export async function fetchInterfaces() {
  return interfacesOf((await get("/api/deviceTemplates")).value);
}

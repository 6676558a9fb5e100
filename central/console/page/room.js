// The simulated room behind a fake daemon: hold its temperature and humidity, make its sensor fail.

import { call, get } from "./api.js";
import { announce, h, newId, setText } from "./dom.js";
import { number, withUnit } from "./format.js";

const EVERY = 3000; // Milliseconds between two looks at the room.

const FAULTS = {
  no_answer: "does not answer",
  checksum: "sends damaged frames",
  implausible: "sends impossible values",
  ghost: "sends zeros",
  stuck: "repeats one value",
  spike: "sends wild values",
  hang: "hangs",
  no_permission: "may not be used",
  busy: "is used by another program",
  failed: "has a broken driver",
  random: "fails at random",
};

export class RoomPanel {
  constructor() {
    this.temperature = slider("Temperature", "degreeCelsius", -10, 50, 0.5, (value) =>
      this.set({ temperature: value }),
    );
    this.humidity = slider("Humidity", "percent", 0, 100, 1, (value) =>
      this.set({ humidity: value }),
    );
    const id = newId("fault");
    this.fault = h(
      "select",
      { id, onchange: () => this.set({ fault: this.fault.value || null }) },
      h("option", { value: "" }, "works"),
    );
    this.weather = h(
      "button",
      {
        type: "button",
        onclick: () => this.set({ temperature: null, humidity: null, fault: null }),
      },
      "Back to its own weather",
    );
    this.result = h("output", { class: "result" });
    this.element = h(
      "section",
      { class: "card room", hidden: true },
      h("h2", {}, "The simulated room"),
      h("p", { class: "muted" }, "Change it and watch what the device makes of it."),
      h("div", { class: "sliders" }, this.temperature.element, this.humidity.element),
      h("div", { class: "slider" }, h("label", { for: id }, "The sensor"), this.fault),
      h("div", { class: "actions" }, this.weather, this.result),
    );
  }

  // Shows itself where there is such a room, and returns whether there is.
  async open() {
    const { room } = await get("/console/api/central");
    if (!room || this.closed) return false;
    this.element.hidden = false;
    const look = async () => {
      if (!document.hidden) await this.ask(() => get("/console/api/room"));
      if (!this.closed) this.timer = setTimeout(look, EVERY);
    };
    await look();
    return true;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  async set(wishes) {
    if (await this.ask(() => call("POST", "/console/api/room", wishes)))
      announce("The room is changed.");
  }

  async ask(question) {
    try {
      this.show(await question());
      setText(this.result, "");
      return true;
    } catch (error) {
      this.result.dataset.kind = "bad";
      setText(this.result, error.message);
      return false;
    }
  }

  show(room) {
    this.temperature.show(room.climate.temperature, room.temperature !== null);
    this.humidity.show(room.climate.humidity, room.humidity !== null);
    if (this.fault.options.length === 1) {
      for (const name of room.faults)
        this.fault.append(h("option", { value: name }, FAULTS[name] ?? name));
    }
    if (document.activeElement !== this.fault) this.fault.value = room.fault ?? "";
    this.weather.disabled =
      room.temperature === null && room.humidity === null && room.fault === null;
  }
}

function slider(label, unit, least, most, step, changed) {
  const id = newId("slider");
  const words = h("output", { for: id });
  const input = h("input", { id, type: "range", min: least, max: most, step });
  let held = false;
  let moving = false;
  const write = () =>
    setText(
      words,
      `${withUnit(number(Number(input.value), { schema: { kind: "double" } }), unit)}${held || moving ? "" : " (weather)"}`,
    );
  input.addEventListener("input", () => {
    moving = true;
    write();
  });
  input.addEventListener("change", () => {
    moving = false;
    changed(Number(input.value));
  });
  return {
    element: h("div", { class: "slider" }, h("label", { for: id }, label), words, input),
    show(value, isHeld) {
      if (moving) return;
      held = isHeld;
      input.value = value;
      write();
    },
  };
}

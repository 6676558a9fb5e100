// The simulated room of a simulated board: set temperature and humidity, make the sensor fail.

import { call, get } from "./api.js";
import { announce, button, h, newId, resultLine, setText } from "./dom.js";
import { number, withUnit } from "./format.js";

const EVERY = 3000; // Milliseconds between two reads of the room.

const FAULTS = {
  no_answer: "No answer",
  checksum: "Damaged frames",
  implausible: "Implausible values",
  ghost: "All zeros",
  stuck: "Repeats one value",
  spike: "Spikes",
  hang: "Hangs",
  no_permission: "No permission",
  busy: "In use by another program",
  failed: "Driver failed",
  random: "Random faults",
};

export class RoomPanel {
  constructor() {
    this.temperature = slider("Temperature", "°C", -10, 50, 0.5, (value) =>
      this.set({ temperature: value }),
    );
    this.humidity = slider("Humidity", "%", 0, 100, 1, (value) => this.set({ humidity: value }));
    const id = newId("fault");
    this.fault = h(
      "select",
      { id, onchange: () => this.set({ fault: this.fault.value || null }) },
      h("option", { value: "" }, "Works"),
    );
    this.reset = button("Reset the room", () =>
      this.set({ temperature: null, humidity: null, fault: null }),
    );
    this.result = resultLine();
    this.element = h(
      "section",
      { class: "card room", "data-needs": "operate", hidden: true },
      h("h2", {}, "Simulated room"),
      h(
        "p",
        { class: "muted" },
        "Set temperature and humidity, or make the sensor fail, and watch the device.",
      ),
      h("div", { class: "sliders" }, this.temperature.element, this.humidity.element),
      h("div", { class: "slider" }, h("label", { for: id }, "Sensor"), this.fault),
      h("div", { class: "actions" }, this.reset, this.result.element),
    );
  }

  // Shows the panel if the device's sensor is in a simulated room, and returns whether it is.
  async open(id) {
    const { room } = await get("/console/api/central");
    if (!room || (await this.deviceOfRoom()) !== id || this.closed) return false;
    this.element.hidden = false;
    const look = async () => {
      if (!document.hidden) await this.ask(() => get("/console/api/room"));
      if (!this.closed) this.timer = setTimeout(look, EVERY);
    };
    await look();
    return true;
  }

  // Waits until the daemon with the room replies, and returns the id of its device.
  async deviceOfRoom() {
    while (!this.closed) {
      try {
        return (await get("/console/api/room")).device;
      } catch {
        await new Promise((resolve) => (this.timer = setTimeout(resolve, EVERY)));
      }
    }
    return null;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  async set(wishes) {
    if (await this.ask(() => call("POST", "/console/api/room", wishes)))
      announce("The room has changed.");
  }

  async ask(question) {
    try {
      this.show(await question());
      this.result.show("fine", "");
      return true;
    } catch (error) {
      this.result.show("bad", error.message);
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
    this.reset.disabled =
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
      `${withUnit(number(Number(input.value), "double"), unit)}${held || moving ? "" : " (automatic)"}`,
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

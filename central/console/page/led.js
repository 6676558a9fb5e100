// What the LED does: off, on or blinking, with its brightness.

import { h, setText } from "./dom.js";
import { LED } from "./special.js";
import { isPresent, lastReported } from "./states.js";

const BRIGHTNESS = { 1: "high", 2: "medium", 3: "low" };

export class Led {
  constructor() {
    this.bulb = h("span", { class: "led-bulb", "data-state": "unknown", "aria-hidden": "true" });
    this.words = h("strong", {}, "Unknown");
    this.detail = h("span", { class: "muted" });
    this.element = h("div", { class: "led" }, this.bulb, h("p", {}, this.words, this.detail));
  }

  show(store) {
    const { value: state, about } = store.property(LED.state);
    const known = ["off", "on", "blinking"].includes(state);
    const present = isPresent(store.device);
    const brightness = BRIGHTNESS[store.property(LED.brightness).value];
    const period = state === "blinking" ? blinkPeriod(store) : null;
    this.bulb.dataset.state = known && present ? state : "unknown";
    this.bulb.dataset.brightness = brightness ?? "high";
    this.bulb.style.setProperty("--period", `${period ?? 1}s`);
    const words = {
      off: "Off",
      on: "On",
      blinking: period ? `Blinking every ${period} s` : "Blinking",
    };
    setText(this.words, known ? words[state] : "Not reported yet");
    const bright = brightness ? `Brightness ${brightness}` : "";
    this.detail.replaceChildren(known && !present ? lastReported(about) : bright);
  }
}

// The device does not report the period: it is in the last blink command that it accepted.
function blinkPeriod(store) {
  const accepted = store.commands.find(
    (each) => each.name === LED.blink && each.responseCode === 200,
  );
  return typeof accepted?.request === "number" && accepted.request > 0 ? accepted.request : null;
}

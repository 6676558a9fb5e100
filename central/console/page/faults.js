// Simulated faults of the network and the hub, for every device.

import { call, get } from "./api.js";
import { announce, button, h, resultLine, segments, setText } from "./dom.js";
import { now, ticking } from "./format.js";

const SPANS = [
  [10, "10 s"],
  [30, "30 s"],
  [120, "2 min"],
  [null, "Until cleared"],
];
const PATH = "/console/api/faults";

// All faults as central has them, for the banner and the panel.
let faults = [];
const listeners = new Set();

async function read() {
  try {
    set((await get(PATH)).value);
  } catch {
    // Central does not respond. The top of the page says so.
  }
}

function set(value) {
  faults = value;
  for (const show of listeners) show();
}

function watch(show) {
  listeners.add(show);
  show();
  return () => listeners.delete(show);
}

document.addEventListener("faults", read);

function remaining({ ends }) {
  if (ends === null) return "until cleared";
  return `${Math.max(0, Math.ceil((Date.parse(ends) - now()) / 1000))} s left`;
}

// A line at the top of every page while a fault is on.
export function faultsBanner() {
  const words = h("span");
  const clearAll = async () => {
    await call("DELETE", PATH).catch(() => null); // The top of the page says why.
    await read();
  };
  const clear = button("", clearAll, { class: "small", "data-needs": "administer" });
  const element = h("p", { class: "faults-banner", role: "status", hidden: true }, words, clear);
  watch(() => {
    const on = faults.filter((fault) => fault.on);
    element.hidden = !on.length;
    const labels = on.map((fault) => fault.label).join(", ");
    setText(words, `Simulated for every device: ${labels}.`);
    setText(clear, on.length > 1 ? "Clear the faults" : "Clear the fault");
  });
  return element;
}

export class FaultsPanel {
  constructor() {
    this.result = resultLine();
    this.seconds = 30;
    const duration = segments("Duration", SPANS, (seconds) => (this.seconds = seconds));
    duration.choose(this.seconds);
    this.grid = h("div", { class: "fault-grid" });
    this.buttons = new Map();
    this.element = h(
      "details",
      { class: "card faults", "data-needs": "administer" },
      h("summary", {}, h("h2", {}, "Simulate a fault")),
      h(
        "p",
        { class: "muted" },
        "Faults affect every device. Devices keep their readings and send them later: the chart fills in, and the count above it shows whether any are missing.",
      ),
      h("div", { class: "actions" }, h("span", { class: "label" }, "For"), duration.element),
      this.grid,
      this.result.element,
    );
    this.close = watch(() => this.show());
    read();
  }

  show() {
    if (!this.buttons.size && faults.length) {
      this.buttons = new Map(faults.map((fault) => [fault.name, this.button(fault)]));
      this.grid.replaceChildren(...[...this.buttons.values()].map((each) => each.element));
    }
    for (const fault of faults.filter((each) => !each.once)) {
      const { element, state } = this.buttons.get(fault.name);
      element.setAttribute("aria-pressed", String(fault.on));
      state.hidden = !fault.on;
      ticking(state, () => (fault.on ? `On, ${remaining(fault)}` : ""));
    }
  }

  button({ name, label, description, once }) {
    const state = h("small");
    const words = [h("strong", {}, label), h("small", {}, description), state];
    const element = button(words, () => this.toggle(name), {
      class: "fault",
      "aria-pressed": once ? undefined : "false",
    });
    return { element, state };
  }

  async toggle(name) {
    const { on, label } = faults.find((fault) => fault.name === name);
    try {
      const { value } = on
        ? await call("DELETE", `${PATH}/${name}`)
        : await call("POST", `${PATH}/${name}`, { seconds: this.seconds ?? undefined });
      set(value);
      this.result.show("fine", "");
      announce(on ? `${label} is cleared.` : `${label} is on.`);
    } catch (error) {
      this.result.show("bad", error.message);
    }
  }
}

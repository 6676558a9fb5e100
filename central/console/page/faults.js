// What can be made to go wrong, for every device here: to see what a device makes of it.

import { call, get } from "./api.js";
import { announce, h, setText } from "./dom.js";
import { now, ticking } from "./format.js";

const FAULTS = [
  ["cut", "Cut", "Every connection ends, once."],
  ["half-open", "Half-open", "Connections fall silent, once, as when a router forgets them."],
  ["refuse", "No network", "Connections are refused."],
  ["hang", "Hang", "Connections open, and then nothing is said."],
  ["slow", "Slow", "Each packet comes 2 s late."],
  ["unacknowledged", "No receipt", "Messages are not acknowledged."],
  ["throttle", "Throttle", "More than one message a second ends the connection."],
  ["unauthorized", "No entry", "The hub refuses every sign-in."],
  ["certificate", "Certificate", "It expired a year ago."],
  ["clock", "Clock", "Central\u2019s is a day ahead, so every token has expired."],
  ["twin", "Silent twin", "Properties are neither answered nor confirmed."],
  ["move", "Another hub", "Devices belong to another hub, under another name."],
];
const LABELS = new Map(FAULTS.map(([name, label]) => [name, label]));
const ONCE = new Set(["cut", "half-open"]);
const SPANS = [
  [10, "10 s"],
  [30, "30 s"],
  [120, "2 min"],
  [null, "Until ended"],
];
const PATH = "/console/api/faults";

// The faults that are on, for whoever shows them.
let active = [];
const shows = new Set();

async function look() {
  try {
    tell((await get(PATH)).value);
  } catch {
    // Central is gone, which the page says at its top.
  }
}

function tell(value) {
  active = value;
  for (const show of shows) show();
}

function watch(show) {
  shows.add(show);
  show();
  return () => shows.delete(show);
}

document.addEventListener("faults", look);

function left(fault) {
  if (fault.ends === null) return "until ended";
  return `${Math.max(0, Math.ceil((Date.parse(fault.ends) - now()) / 1000))} s left`;
}

// Says on every page that something is made to go wrong: nobody is to look for a real fault.
export function faultsBanner() {
  const words = h("span");
  const end = h("button", { type: "button", class: "small" }, "End it");
  const element = h("p", { class: "faults-banner", role: "status", hidden: true }, words, end);
  end.addEventListener("click", async () => {
    await call("DELETE", PATH).catch(() => null); // Central is gone: the page says so at its top.
    await look();
  });
  watch(() => {
    element.hidden = !active.length;
    const names = active.map((fault) => LABELS.get(fault.name) ?? fault.name).join(", ");
    setText(words, `Made to go wrong, for every device: ${names}.`);
  });
  return element;
}

export class FaultsPanel {
  constructor() {
    this.result = h("output", { class: "result" });
    this.span = 30;
    this.buttons = new Map(
      FAULTS.map(([name, label, words]) => [name, this.button(name, label, words)]),
    );
    this.element = h(
      "details",
      { class: "card faults" },
      h("summary", {}, h("h2", {}, "Make something go wrong")),
      h(
        "p",
        { class: "muted" },
        "For every device here. Readings are kept by the device and follow later: the chart above fills again, and the count says whether any is missing.",
      ),
      h("div", { class: "actions" }, h("span", { class: "label" }, "For"), this.chooseSpan()),
      h(
        "div",
        { class: "fault-grid" },
        [...this.buttons.values()].map((each) => each.element),
      ),
      this.result,
    );
    this.forget = watch(() => this.show());
    look();
  }

  close() {
    this.forget();
  }

  chooseSpan() {
    const choices = SPANS.map(([seconds, label]) => {
      const input = h("input", {
        type: "radio",
        name: "fault-span",
        checked: seconds === this.span,
      });
      input.addEventListener("change", () => (this.span = seconds));
      return h("label", {}, input, h("span", {}, label));
    });
    return h(
      "fieldset",
      { class: "segments" },
      h("legend", { class: "unseen" }, "How long"),
      choices,
    );
  }

  button(name, label, words) {
    const state = h("small");
    const element = h(
      "button",
      { type: "button", class: "fault", "aria-pressed": ONCE.has(name) ? undefined : "false" },
      h("strong", {}, label),
      h("small", {}, words),
      state,
    );
    element.addEventListener("click", () => this.toggle(name, label));
    return { element, state };
  }

  async toggle(name, label) {
    const on = active.some((fault) => fault.name === name);
    try {
      const answer = on
        ? await call("DELETE", `${PATH}/${name}`)
        : await call("POST", `${PATH}/${name}`, { seconds: this.span ?? undefined });
      tell(answer.value);
      setText(this.result, "");
      announce(on ? `${label} has ended.` : `${label} is on.`);
    } catch (error) {
      this.result.dataset.kind = "bad";
      setText(this.result, error.message);
    }
  }

  show() {
    for (const [name, { element, state }] of this.buttons) {
      if (ONCE.has(name)) continue;
      const fault = active.find((each) => each.name === name);
      element.setAttribute("aria-pressed", String(fault !== undefined));
      state.hidden = !fault;
      ticking(state, () => (fault ? `On, ${left(fault)}` : ""));
    }
  }
}

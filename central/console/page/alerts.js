// The alerts of the rules: those that nobody has acknowledged, and the history.

import { call, get, soon } from "./api.js";
import { conditionText, foundText, readElements } from "./conditions.js";
import { announce, button, h, resultLine, segments, setText } from "./dom.js";
import { listen } from "./events.js";
import { counted, dateTime, duration, since, ticking, timeText } from "./format.js";
import { setTitle } from "./title.js";

const PATH = "/console/api/alerts";
const FOUND_LATE = 60_000; // Milliseconds from which on an alert was found in late readings.

export class AlertsPage {
  constructor() {
    this.history = false;
    this.older = []; // Alerts that were loaded with the button at the end.
    this.list = h("ul", { class: "alert-list" });
    this.empty = h("p", { class: "muted", hidden: true });
    this.result = resultLine();
    const views = [
      [false, "To acknowledge"],
      [true, "All"],
    ];
    this.view = segments("Alerts to show", views, (history) => this.choose(history));
    this.view.choose(false);
    this.all = button("Acknowledge all", () => this.acknowledge(this.shown), {
      "data-needs": "operate",
      hidden: true,
    });
    this.more = button("Show older alerts", () => this.readOlder(), { hidden: true });
    this.element = h(
      "div",
      {},
      h(
        "header",
        { class: "list-head" },
        h("h1", {}, "Alerts"),
        h("a", { class: "button", href: "#/rules" }, "Rules"),
      ),
      h(
        "p",
        { class: "muted page-note" },
        "An alert is open while its condition holds. The number beside Alerts counts those that nobody has acknowledged.",
      ),
      h("div", { class: "card-head" }, this.view.element, this.all),
      this.result.element,
      this.empty,
      this.list,
      h("div", { class: "actions" }, this.more),
    );
    this.readSoon = soon(() => this.read());
    this.shown = [];
  }

  async open() {
    setTitle("Alerts");
    this.stop = listen(null, (kind) => kind === "everything" && this.readSoon());
    document.addEventListener("alerts", this.readSoon);
    await this.read();
  }

  close() {
    this.stop?.();
    document.removeEventListener("alerts", this.readSoon);
    this.closed = true;
  }

  choose(history) {
    this.history = history;
    this.older = [];
    return this.read();
  }

  fetch(before) {
    const query = [this.history ? "" : "unacknowledged", before ? `before=${before}` : ""];
    return get(`${PATH}?${query.filter(Boolean).join("&")}`);
  }

  async read() {
    const turn = (this.turn = {});
    try {
      this.elements ??= await readElements();
      const found = await this.fetch();
      if (this.turn !== turn || this.closed) return; // A newer request is under way or done.
      if (!this.older.length) this.more.hidden = !found.more;
      const rules = found.value.length ? [] : (await get("/console/api/rules")).value;
      this.none = rules.some(({ enabled }) => enabled)
        ? "No alert waits for you."
        : "No alert waits for you. No rule is enabled, so nothing is watched.";
      this.show([...found.value, ...this.older]);
    } catch (error) {
      this.result.show("bad", error.message);
    }
  }

  async readOlder() {
    try {
      const found = await this.fetch(this.shown.at(-1).number);
      this.older = [...this.older, ...found.value];
      this.more.hidden = !found.more;
      this.show([...this.shown, ...found.value]);
    } catch (error) {
      this.result.show("bad", error.message);
    }
  }

  show(alerts) {
    const known = new Set();
    this.shown = alerts.filter(({ number }) => !known.has(number) && known.add(number));
    this.all.hidden = this.history || this.shown.length < 2;
    this.empty.hidden = this.shown.length > 0;
    setText(this.empty, this.history ? "There have been no alerts yet." : this.none);
    this.list.replaceChildren(...this.shown.map((alert) => this.row(alert)));
  }

  row(alert) {
    const { rule, device, returned, acknowledged, acknowledgedBy } = alert;
    const badge = returned
      ? h("span", { class: "badge" }, "Closed")
      : h("span", { class: "badge", "data-kind": "bad" }, "Open");
    const names = h(
      "h2",
      {},
      badge,
      h("a", { href: `#/devices/${encodeURIComponent(device.id)}` }, device.name),
      h("span", { class: "muted" }, rule.name),
    );
    const outcome = acknowledged
      ? h("p", { class: "muted" }, `Acknowledged by ${acknowledgedBy}, ${timeText(acknowledged)}`)
      : button("Acknowledge", () => this.acknowledge([alert]), {
          class: "small",
          "data-needs": "operate",
          "aria-label": `Acknowledge ${rule.name} of ${device.name}`,
        });
    const elements = this.elements.of(device.template); // With the units of this device.
    const texts = [conditionText(alert.condition, elements), foundText(alert, elements)];
    return h(
      "li",
      { class: "card alert" },
      names,
      h("p", {}, texts.filter(Boolean).join(". ")),
      whenText(alert),
      ...alert.webhook.map(webhookText),
      outcome,
    );
  }

  async acknowledge(alerts) {
    try {
      const numbers = alerts.map(({ number }) => number);
      await call("POST", `${PATH}/acknowledge`, { numbers });
      this.result.show("fine", "");
      announce(`Acknowledged ${counted(numbers.length, "alert")}.`);
    } catch (error) {
      this.result.show("bad", error.message);
    }
    this.older = [];
    await this.read();
  }
}

function whenText({ fired, returned, recorded }) {
  const from = dateTime(Date.parse(fired));
  const late = Date.parse(recorded) - Date.parse(fired) > FOUND_LATE;
  const found = late ? ` Found at ${timeText(recorded)}.` : "";
  if (returned) {
    const lasted = duration(Date.parse(returned) - Date.parse(fired));
    return h("p", { class: "muted" }, `From ${from} to ${timeText(returned)}, ${lasted}.${found}`);
  }
  return ticking(h("p", { class: "muted" }), () => `Since ${from}, for ${since(fired)}.${found}`);
}

// What became of a message to the webhook. `delivery` is as central's page API has it.
export function webhookText({ event, attempts, next, outcome }) {
  const what = event === "fired" ? "Webhook" : "Webhook, at the end";
  if (outcome === "delivered") return h("p", { class: "muted" }, `${what}: delivered`);
  if (!attempts && next) return h("p", { class: "muted" }, `${what}: waiting`);
  const then = next ? `next attempt ${timeText(next)}` : "given up";
  const tries = attempts ? ` after ${counted(attempts, "attempt")}` : "";
  return h("p", { class: "failed" }, `${what}: ${outcome}${tries}; ${then}`);
}

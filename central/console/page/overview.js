// A device at a glance: its numbers, their course, its light, its status, its commands.

import { get, pagePath, soon } from "./api.js";
import { Chart } from "./chart.js";
import { commandForm } from "./commands.js";
import { h, setText } from "./dom.js";
import { FaultsPanel } from "./faults.js";
import { age, now, number, since, ticking, timeText, unitSymbol, valueText } from "./format.js";
import { Led } from "./led.js";
import { keyOf, labelOf, readMessage } from "./model.js";
import { RoomPanel } from "./room.js";

const SPANS = [
  [600, "10 min"],
  [3600, "Hour"],
  [86400, "Day"],
  [604800, "Week"],
];
const [SHORT, USUAL] = [SPANS[0][0], SPANS[1][0]];
const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4"];
const REDRAW = 5000; // Milliseconds: time moves on even where nothing arrives.
const LATE = 5000; // Milliseconds between taking and receiving, as central counts it.
const MOST_POINTS = 4000; // Of one chart; central answers with half of it at most.
const COUNT_AGAIN = 1500; // Milliseconds between two counts while messages arrive.

export class Overview {
  constructor(store) {
    this.store = store;
    this.span = null; // Until the first readings are here: a new device has none of an hour ago.
    this.tiles = h("div", { class: "tiles" });
    this.choices = new Map();
    this.charts = [];
    this.chartBox = h("div");
    this.count = h("p", { class: "count", hidden: true });
    this.lastWords = new Map(); // Of telemetry that is no number, by its key: {timestamp, value}.
    this.added = null; // Messages that come while an answer of central is on its way.
    this.statusBox = h("dl", { class: "facts" });
    this.led = new Led();
    this.ledCard = h("section", { class: "card" }, h("h2", {}, "LED"), this.led.element);
    this.commandBox = h("div", { class: "command-list" });
    this.commandCard = h("section", { class: "card" }, h("h2", {}, "Commands"), this.commandBox);
    this.room = new RoomPanel();
    this.faults = new FaultsPanel();
    this.forms = [];
    this.element = h(
      "div",
      { class: "overview" },
      h(
        "div",
        { class: "overview-main" },
        this.tiles,
        this.chartCard(),
        this.room.element,
        this.faults.element,
      ),
      h(
        "div",
        { class: "overview-side" },
        this.ledCard,
        h("section", { class: "card" }, h("h2", {}, "Status"), this.statusBox),
        this.commandCard,
      ),
    );
    this.fetchSoon = soon(() => this.fetchSeries(), 100);
    this.drawSoon = soon(() => this.draw(), 500);
    this.countSoon = soon(() => this.fetchCount(), COUNT_AGAIN);
    this.timer = setInterval(() => this.draw(), REDRAW);
    this.build();
    store.on("device", () => this.build());
    store.on("messages", () => this.build());
    store.on("properties", () => this.showState());
    store.on("commands", () => this.showState());
    store.on("missed", () => this.fetchSoon());
    store.on("message", (message) => this.add(message));
    this.openRoom();
  }

  async openRoom() {
    try {
      // Who can play with the room is here to try things out.
      this.faults.element.open = await this.room.open();
    } catch {
      // Central is gone, which the page says at its top.
    }
  }

  close() {
    clearInterval(this.timer);
    this.closed = true;
    this.room.close();
    this.faults.close();
    this.charts.forEach((chart) => chart.close());
  }

  chartCard() {
    const choices = SPANS.map(([span, label]) => {
      const input = h("input", { type: "radio", name: "span", value: String(span) });
      input.addEventListener("change", () => {
        this.span = span;
        this.fetchSoon();
      });
      this.choices.set(span, input);
      return h("label", {}, input, h("span", {}, label));
    });
    const choose = h(
      "fieldset",
      { class: "segments" },
      h("legend", { class: "unseen" }, "Time shown"),
      choices,
    );
    return h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h2", {}, "History"), choose),
      this.count,
      this.chartBox,
    );
  }

  // Makes what depends on the model and on what the device sends; anew only where that has changed.
  build() {
    const numbers = this.store.numbers();
    const { model } = this.store;
    const shape = JSON.stringify([numbers, this.store.device?.template, model !== null]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.numbers = numbers.map((element, index) => ({
        element,
        ...makeTile(labelOf(element, model), element, COLOURS[index % COLOURS.length]),
      }));
      this.tiles.replaceChildren(...this.numbers.map((each) => each.tile));
      this.charts.forEach((chart) => chart.close());
      this.charts = numbers.map(
        (element, index) =>
          new Chart(element, labelOf(element, model), COLOURS[index % COLOURS.length]),
      );
      this.chartBox.replaceChildren(...this.charts.map((chart) => chart.element));
      if (!numbers.length)
        this.chartBox.replaceChildren(h("p", { class: "muted" }, "No reading has arrived yet."));
      this.forms = (model?.commands ?? []).map((command) =>
        commandForm(this.store, command, { brief: true }),
      );
      this.commandBox.replaceChildren(...this.forms.map((form) => form.element));
      this.commandCard.hidden = !this.forms.length;
      this.fetchSoon();
    }
    this.forms.forEach((form) => form.update());
    this.showState();
  }

  async fetchSeries() {
    const words = this.store.words();
    if (this.closed || this.numbers.length + words.length === 0) return;
    const query = new URLSearchParams({ since: String(now() / 1000 - (this.span ?? USUAL)) });
    for (const element of [...this.numbers.map((each) => each.element), ...words])
      query.append("name", keyOf(element));
    let series;
    this.added = [];
    try {
      series = await get(`${pagePath(this.store.id, "series")}?${query}`);
    } catch {
      this.added = null;
      return; // Central is gone; once it is back, "missed" asks anew.
    }
    if (this.closed) return;
    this.span ??= usualSpan(series);
    this.choices.get(this.span).checked = true;
    this.numbers.forEach((each, index) => {
      const found = series[keyOf(each.element)];
      if (!found) return;
      this.charts[index]?.show(found.times, found.values, found.late, this.span);
      if (found.last) each.show(found.last);
    });
    for (const element of words) this.hear(element, series[keyOf(element)]?.last);
    this.added.forEach((message) => this.take(message)); // The answer may not know them.
    this.added = null;
    this.showState();
    this.countSoon();
  }

  async fetchCount() {
    if (this.closed) return;
    const since = now() / 1000 - (this.span ?? USUAL);
    let sources;
    try {
      sources = (await get(`${pagePath(this.store.id, "sequence")}?since=${since}`)).value;
    } catch {
      return;
    }
    const sum = (name) => sources.reduce((total, each) => total + each[name], 0);
    this.count.hidden = !sources.length;
    const missing = sum("missing");
    this.count.replaceChildren(
      h("span", {}, `${sum("received")} messages`),
      h(
        "span",
        { class: "badge", "data-kind": missing ? "busy" : "fine" },
        missing ? `${missing} missing so far` : "none missing",
      ),
      h("span", { class: "late" }, sum("late") ? `${sum("late")} came late` : ""),
      h("span", {}, sum("again") ? `${sum("again")} came more than once` : ""),
    );
    this.count.title =
      "Counted by the numbers at the end of the message ids, which grow by one with each reading.";
  }

  add(message) {
    this.added?.push(message);
    this.take(message);
    this.showState();
    this.countSoon();
    if (!this.numbers.length) this.build();
    // A page that stays open for days: central thins what it has.
    if (this.charts.some((chart) => chart.times.length > MOST_POINTS)) this.fetchSoon();
    else this.drawSoon();
  }

  take(message) {
    const { known, rest } = readMessage(message, this.store.model);
    const timestamp = message.created ?? message.received;
    const component = message.system.component ?? null;
    const late = Date.parse(message.received) - Date.parse(timestamp) > LATE;
    for (const element of this.store.words()) {
      if (element.component === component && known.has(element.name))
        this.hear(element, { timestamp, value: known.get(element.name) });
    }
    this.numbers.forEach((each, index) => {
      const value = known.get(each.element.name) ?? rest?.[each.element.name];
      if (typeof value !== "number" || each.element.component !== component) return;
      this.charts[index]?.add(Date.parse(timestamp) / 1000, value, late);
      each.show({ timestamp, value });
    });
  }

  hear(element, last) {
    const before = this.lastWords.get(keyOf(element));
    if (last && !(before && last.timestamp < before.timestamp)) // What comes late is not the present.
      this.lastWords.set(keyOf(element), last);
  }

  draw() {
    if (!this.closed) this.charts.forEach((chart) => chart.draw());
  }

  showState() {
    const { store } = this;
    const properties = (store.model?.properties ?? []).filter(
      (each) => !each.writable && each.component === null,
    );
    this.ledCard.hidden =
      store.property("ledState").value === undefined &&
      !properties.some((each) => each.name === "ledState");
    this.led.show(store);
    const shown = properties.filter((each) => !SHOWN_ELSEWHERE.has(each.name));
    this.statusBox.replaceChildren(
      ...store
        .words()
        .map((each) =>
          fact(labelOf(each, store.model), valueText(this.lastWords.get(keyOf(each))?.value, each)),
        ),
      ...shown.map((element) => fact(element.label, statusValue(store, element))),
      fact(
        "Last message",
        ticking(h("span"), () => age(store.device?.lastSeen)),
      ),
    );
  }
}

function usualSpan(series) {
  const first = Math.min(...Object.values(series).flatMap(({ times }) => times.slice(0, 1)));
  return first > now() / 1000 - SHORT ? SHORT : USUAL;
}

const SHOWN_ELSEWHERE = new Set(["ledState", "sensorStatusSince"]);

function fact(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

function statusValue(store, element) {
  const { value } = store.property(element.name);
  const kind = kindOf(element.name, value, store.device);
  let text = valueText(value, element);
  // A device that lost its power could not report that it is gone.
  if (element.name === "state" && value === true && !store.device?.connected)
    text = `${text} when last heard`;
  if (!kind) return text;
  const badge = h("span", { class: "badge", "data-kind": kind }, text);
  const from = store.property("sensorStatusSince").value;
  if (element.name !== "sensorStatus" || Number.isNaN(Date.parse(from))) return badge;
  return [
    badge,
    " ",
    ticking(h("small", { class: "muted", title: timeText(from) }), () => `for ${since(from)}`),
  ];
}

function kindOf(name, value, device) {
  if (value === undefined) return null;
  if (name === "sensorStatus")
    return value === "ok" ? "fine" : value === "starting" ? "busy" : "bad";
  if (name === "state") return value === true && device?.connected ? "fine" : "quiet";
  return null;
}

function makeTile(label, element, colour) {
  const value = h("span", { class: "tile-number" }, "—");
  const unit = h("span", { class: "tile-unit" });
  const when = h("p", { class: "muted" }, "No reading yet");
  const tile = h(
    "section",
    { class: "card tile" },
    h("h2", { class: "series" }, label),
    h("p", { class: "tile-value" }, value, unit),
    when,
  );
  tile.style.setProperty("--series", `var(${colour})`);
  let newest = null;
  return {
    tile,
    show(last) {
      if (newest !== null && last.timestamp < newest) return; // A late reading is not the present.
      newest = last.timestamp;
      setText(value, number(last.value, element));
      setText(unit, unitSymbol(element.unit));
      ticking(when, () => age(newest));
    },
  };
}

// A device at a glance: its numbers with charts, its LED, its status and its commands.

import { get, pagePath, soon } from "./api.js";
import { Chart } from "./chart.js";
import { commandForm } from "./commands.js";
import { completenessText } from "./completeness.js";
import { card, factList, h, segments, setText } from "./dom.js";
import { FaultsPanel } from "./faults.js";
import { age, now, number, since, ticking, timeText, valueText } from "./format.js";
import { Led } from "./led.js";
import { LATE, readMessage } from "./messages.js";
import { RoomPanel } from "./room.js";
import { LED, special } from "./special.js";

const SPANS = [
  [600, "10 min"],
  [3600, "Hour"],
  [86400, "Day"],
  [604800, "Week"],
];
const [SHORT, USUAL] = [SPANS[0][0], SPANS[1][0]];
const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4"];
const REDRAW = 5000; // Milliseconds: time moves on even if nothing arrives.
const MOST_POINTS = 4000; // Of one chart. Central returns at most half as many.
const COUNT_AGAIN = 1500; // Milliseconds between two counts while messages arrive.

export class Overview {
  constructor(store) {
    this.store = store;
    this.span = null; // Chosen with the first readings: a new device has none from an hour ago.
    this.tiles = h("div", { class: "tiles" });
    this.charts = [];
    this.chartBox = h("div");
    this.count = h("p", { class: "count", hidden: true });
    this.lastWords = new Map(); // Of telemetry that is not a number, by key: {timestamp, value}.
    this.added = null; // Messages that arrive during a request for the series.
    this.statusBox = h("div");
    this.led = new Led();
    this.ledCard = card("LED", this.led.element);
    this.commandBox = h("div");
    this.commandCard = card("Commands", this.commandBox);
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
        card("Status", this.statusBox),
        this.commandCard,
      ),
    );
    this.fetchSoon = soon(() => this.fetchSeries(), 100);
    this.drawSoon = soon(() => this.draw(), 500);
    this.countSoon = soon(() => this.fetchCount(), COUNT_AGAIN);
    this.timer = setInterval(() => this.draw(), REDRAW);
    this.build();
    store.on("device", () => this.build());
    store.on("messages", () => {
      this.build();
      this.fetchSoon(); // They may have a message whose event arrives later, and is then ignored.
    });
    store.on("properties", () => this.showState());
    store.on("commands", () => this.showState());
    store.on("message", (message) => this.add(message));
    this.openRoom();
  }

  async openRoom() {
    try {
      // A central with a simulated room is for trying things out. Never closed here: by the time
      // central responds, the user may have opened it.
      if (await this.room.open()) this.faults.element.open = true;
    } catch {
      // Central does not respond. The top of the page says so.
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
    this.period = segments("Time shown", SPANS, (span) => {
      this.span = span;
      this.fetchSoon();
    });
    return h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h2", {}, "History"), this.period.element),
      this.count,
      this.chartBox,
    );
  }

  // Creates what depends on the model and on the device's numbers, again only if they changed.
  build() {
    const numbers = this.store.numbers();
    const { model } = this.store;
    const shape = JSON.stringify([numbers, this.store.device?.template, model !== null]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.numbers = numbers.map((element, index) => ({
        element,
        ...makeTile(element, COLOURS[index % COLOURS.length]),
      }));
      this.tiles.replaceChildren(...this.numbers.map((each) => each.tile));
      this.charts.forEach((chart) => chart.close());
      this.charts = numbers.map(
        (element, index) => new Chart(element, COLOURS[index % COLOURS.length]),
      );
      this.chartBox.replaceChildren(...this.charts.map((chart) => chart.element));
      if (!numbers.length)
        this.chartBox.replaceChildren(h("p", { class: "muted" }, "No readings yet."));
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
      query.append("name", element.key);
    let series;
    this.added = [];
    try {
      series = await get(`${pagePath(this.store.id, "series")}?${query}`);
    } catch {
      this.added = null;
      return; // Central does not respond. Once it does, the messages are read again.
    }
    if (this.closed) return;
    this.span ??= usualSpan(series);
    this.period.choose(this.span);
    this.numbers.forEach((each, index) => {
      const found = series[each.element.key];
      if (!found) return;
      this.charts[index]?.show(found.times, found.values, found.late, this.span);
      if (found.last) each.show(found.last);
    });
    for (const element of words) this.keepWords(element, series[element.key]?.last);
    this.added.forEach((message) => this.take(message)); // The response may not have them.
    this.added = null;
    this.showState();
    this.countSoon();
  }

  async fetchCount() {
    if (this.closed) return;
    let found;
    try {
      found = await get(pagePath(this.store.id, "completeness"));
    } catch {
      return;
    }
    this.count.hidden = !found.since;
    this.count.replaceChildren(...completenessText(found));
  }

  add(message) {
    this.added?.push(message);
    this.take(message);
    this.showState();
    this.countSoon();
    if (!this.numbers.length) this.build();
    // If the page stays open for days, central thins the points.
    if (this.charts.some((chart) => chart.times.length > MOST_POINTS)) this.fetchSoon();
    else this.drawSoon();
  }

  take(message) {
    const { values } = readMessage(message, this.store.model);
    const timestamp = message.created ?? message.received;
    const late = Date.parse(message.received) - Date.parse(timestamp) > LATE;
    for (const element of this.store.words()) {
      if (values.has(element.key))
        this.keepWords(element, { timestamp, value: values.get(element.key) });
    }
    this.numbers.forEach((each, index) => {
      const value = values.get(each.element.key);
      if (typeof value !== "number") return;
      this.charts[index]?.add(Date.parse(timestamp) / 1000, value, late);
      each.show({ timestamp, value });
    });
  }

  keepWords(element, last) {
    const before = this.lastWords.get(element.key);
    if (last && !(before && last.timestamp < before.timestamp))
      // A late value is not current.
      this.lastWords.set(element.key, last);
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
      store.property(LED.state).value === undefined &&
      !properties.some((each) => each.name === LED.state);
    this.led.show(store);
    const shown = properties.filter((each) => !special(each).elsewhere);
    const lastMessage = ticking(h("span"), () => age(store.device?.lastSeen));
    this.statusBox.replaceChildren(
      factList([
        ...store
          .words()
          .map((each) => [each.title, valueText(this.lastWords.get(each.key)?.value, each)]),
        ...shown.map((each) => [each.label, statusValue(store, each)]),
        ["Last message", lastMessage],
      ]),
    );
  }
}

function usualSpan(series) {
  const first = Math.min(...Object.values(series).flatMap(({ times }) => times.slice(0, 1)));
  return first > now() / 1000 - SHORT ? SHORT : USUAL;
}

function statusValue(store, element) {
  const { value } = store.property(element.name);
  const { kind, note, since: changed } = special(element);
  const words = [valueText(value, element), note?.(value, store.device)];
  const text = words.filter(Boolean).join(" ");
  if (value === undefined || !kind) return text;
  const badge = h("span", { class: "badge", "data-kind": kind(value, store.device) }, text);
  const from = changed && store.property(changed).value;
  if (Number.isNaN(Date.parse(from))) return badge;
  return [
    badge,
    " ",
    ticking(h("small", { class: "muted", title: timeText(from) }), () => `for ${since(from)}`),
  ];
}

function makeTile(element, colour) {
  const value = h("span", { class: "tile-number" }, "—");
  const unit = h("span", { class: "tile-unit" });
  const when = h("p", { class: "muted" }, "No reading yet");
  const tile = h(
    "section",
    { class: "card tile" },
    h("h2", { class: "series" }, element.title),
    h("p", { class: "tile-value" }, value, unit),
    when,
  );
  tile.style.setProperty("--series", `var(${colour})`);
  let newest = null;
  return {
    tile,
    show(last) {
      if (newest !== null && last.timestamp < newest) return; // A late reading is not current.
      newest = last.timestamp;
      setText(value, number(last.value, element.schema.kind));
      setText(unit, element.unit);
      ticking(when, () => age(newest));
    },
  };
}

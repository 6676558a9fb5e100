// The charts of a device: the time and the number shown, other devices beside it, and the address by
// which the same can be opened again.

import { get, pagePath, soon } from "./api.js";
import { Chart, makeLine, MOST_LINES } from "./chart.js";
import { Comparison } from "./comparison.js";
import { announce, button, copyButton, h, newId, segments, setText } from "./dom.js";
import { localTime } from "./fields.js";
import { clockTime, dateTime, day, now as milliseconds } from "./format.js";
import { limitsOf } from "./special.js";
import * as range from "./range.js";

export const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4"];
const REDRAW = 5000; // Milliseconds: time moves on even if nothing arrives.
const SETTLE = 250; // Milliseconds after the last step of zooming before central is asked.
const ASK_AGAIN = 1000; // Milliseconds between requests because of readings that arrive.
const MOST_POINTS = 4000; // Of one chart. Central returns at most about half as many.
const PARTS = 500; // Other devices are read again each 500th of the time shown.
const MOST_NAMES = 16; // Of one request to central.

const now = () => milliseconds() / 1000;

export class History {
  // Calls `received(series, messages)` with what central answers, by key, and with the messages that
  // arrived during the request.
  constructor(store, query, received) {
    this.store = store;
    this.received = received;
    this.charts = [];
    this.others = new Map(); // The series of the other devices, by id.
    this.kept = null; // When the oldest reading was taken that is kept.
    this.comparison = new Comparison(store.id, MOST_LINES - 1, {
      changed: () => this.goTo({}),
      named: () => {
        if (this.series) this.showLines();
        this.showRemarks();
      },
    });
    this.added = null; // Messages that arrive during a request.
    this.asked = 0; // When central was asked last, in seconds.
    this.element = this.makeElement();
    this.fetchSoon = soon(() => this.fetch(), 100);
    this.fetchLater = soon(() => this.fetch(), ASK_AGAIN);
    this.drawSoon = soon(() => this.draw(), 500);
    this.timer = setInterval(() => this.tick(), REDRAW);
    this.view = {
      bounds: () => this.bounds(),
      showBetween: (from, to) => this.goTo({ range: range.between(from, to, now(), this.kept) }),
      pan: (share) => this.goTo({ range: range.panned(this.range, share, now(), this.kept) }),
      zoom: (factor, at) =>
        this.goTo({ range: range.zoomed(this.range, factor, now(), this.kept, at) }),
      now: () => this.goTo({ range: range.latest(this.range, now(), this.kept) }),
      reset: () => this.goTo({ range: { span: this.preset ?? range.USUAL } }),
    };
    this.read(query);
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    clearTimeout(this.settling);
    this.request?.abort();
    this.charts.forEach((chart) => chart.close());
  }

  makeElement() {
    this.presets = segments("Time shown", range.PRESETS, (span) => this.goTo({ range: { span } }));
    const step = (words, label, act) =>
      button(words, act, { class: "small", "aria-label": label, title: label });
    this.nowButton = step("Now", "Back to now", () => this.view.now());
    this.fieldChooser = h("select", {
      "aria-label": "Charts shown",
      onchange: () => this.goTo({ field: this.fieldChooser.value || null }),
    });
    this.period = h("p", { class: "muted period" });
    this.remark = h("p", { class: "remark", role: "status", hidden: true });
    this.count = h("p", { class: "count", hidden: true });
    this.chartBox = h("div");
    return h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h2", {}, "History"), this.presets.element),
      h(
        "div",
        { class: "toolbar" },
        h(
          "span",
          { class: "steps", role: "group", "aria-label": "Move and zoom" },
          step("←", "Earlier", () => this.view.pan(-0.5)),
          step("→", "Later", () => this.view.pan(0.5)),
          step("+", "Zoom in", () => this.view.zoom(0.5)),
          step("−", "Zoom out", () => this.view.zoom(2)),
          this.nowButton,
          step("Reset", "Reset the time shown", () => this.view.reset()),
        ),
        this.dates(),
        this.fieldChooser,
        this.comparison.element,
        copyButton(() => location.href, "link to these charts", "Copy link"),
      ),
      this.count,
      this.remark,
      this.chartBox,
      this.period,
      h(
        "p",
        { class: "muted gestures" },
        h(
          "span",
          { class: "mouse" },
          "Drag to zoom in, Shift and drag to move, double-click to reset. ",
          "Keys on a chart: arrows move, + and − zoom, End goes to now, 0 resets.",
        ),
        h("span", { class: "fingers" }, "Swipe to move, pinch to zoom, tap twice to reset."),
      ),
    );
  }

  dates() {
    const [from, to] = ["From", "To"].map((label) => {
      const id = newId("date");
      const input = h("input", { id, type: "datetime-local", step: "1", required: true });
      return { input, element: h("span", { class: "pair" }, h("label", { for: id }, label), input) };
    });
    let [bounds, written] = [[], []]; // What the fields began with.
    const form = h(
      "form",
      { class: "choices", novalidate: true },
      from.element,
      to.element,
      h("button", { type: "submit", class: "small" }, "Show"),
    );
    // Before the menu opens: its toggle event comes later, and would undo what was entered until then.
    const begin = () => {
      bounds = this.bounds();
      [from, to].forEach(({ input }, at) => (input.value = localTime(bounds[at] * 1000)));
      written = [from.input.value, to.input.value];
    };
    const summary = h("summary", { class: "button small", onclick: begin }, "Dates");
    const menu = h("details", { class: "menu" }, summary, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const read = [from, to].map(({ input }, at) =>
        input.value === written[at] ? { time: bounds[at], words: "" } : readTime(input.value, at),
      );
      const [begin, end] = read.map((each) => each.time);
      const [at, refusal] = range.refusal(begin, end, now()) ?? [];
      [from, to].forEach(({ input }, index) => input.setCustomValidity(at === index ? refusal : ""));
      if (!form.reportValidity()) return;
      menu.open = false;
      const remarks = read.map((each) => each.words).filter(Boolean);
      this.goTo({ range: range.entered(begin, end, now()), remarks });
    });
    for (const { input } of [from, to])
      input.addEventListener("input", () => input.setCustomValidity(""));
    return menu;
  }

  bounds() {
    return range.boundsOf(this.range ?? { span: range.USUAL }, now(), this.kept);
  }

  isLive() {
    return !this.range || "span" in this.range || this.range.to > now();
  }

  // Shows what an address has.
  read(query) {
    const { range: asked, field, devices, wrong } = range.readQuery(query);
    this.range = asked; // Chosen with the first readings: a new device has none from an hour ago.
    this.field = field;
    this.remarks = wrong ? ["The address has no valid time range."] : [];
    this.comparison.choose(devices);
    this.written = query;
    this.note();
    this.build(this.numbers ?? []);
    this.fetchSoon();
  }

  // Shows another range, field or choice of devices now. Asks central and changes the address once no
  // other step follows.
  goTo(changed) {
    if (this.closed) return;
    this.range ??= { span: range.USUAL };
    const fieldBefore = this.field;
    Object.assign(this, { remarks: [] }, changed);
    if (this.field !== fieldBefore) this.build(this.numbers);
    this.note();
    this.charts.forEach((chart) => chart.move());
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.settle(), SETTLE);
  }

  settle() {
    const query = range.writeQuery({ ...this, devices: this.comparison.chosen() });
    if (query !== this.written) {
      this.written = query;
      const [place] = location.hash.split("?");
      history.pushState(null, "", query ? `${place}?${query}` : place);
      announce(this.period.textContent);
    }
    this.fetch();
  }

  // Shows in words what is shown, and how times are to be read.
  note() {
    const span = this.range && "span" in this.range ? this.range.span : null;
    if (range.PRESETS.some(([each]) => each === span)) this.preset = span;
    this.presets.choose(span);
    const [from, to] = this.bounds();
    const ends = !this.range || "span" in this.range ? "now" : dateTime(to * 1000);
    this.nowButton.disabled = ends === "now";
    setText(
      this.period,
      `From ${dateTime(from * 1000)} to ${ends}. Times in ${range.zoneText([from, to])}.`,
    );
    this.showRemarks();
  }

  // Says which part of an address or of what was entered is shown otherwise.
  showRemarks() {
    const words = [...this.remarks, ...this.comparison.remarks()];
    const isKnown = this.numbers?.some((each) => each.key === this.field);
    if (this.field !== null && this.series && !isKnown)
      words.push(`The device has no telemetry ${this.field} with a chart. All charts are shown.`);
    setText(this.remark, words.join(" "));
    this.remark.hidden = !words.length;
  }

  // Creates the charts of these numbers.
  build(numbers) {
    this.numbers = numbers;
    const known = numbers.some((each) => each.key === this.field);
    const shown = known ? numbers.filter((each) => each.key === this.field) : numbers;
    this.fieldChooser.replaceChildren(
      h("option", { value: "" }, "All charts"),
      ...numbers.map((each) => h("option", { value: each.key }, each.title)),
    );
    this.fieldChooser.value = known ? this.field : "";
    this.fieldChooser.hidden = numbers.length < 2;
    this.charts.forEach((chart) => chart.close());
    this.charts = shown.map(
      (each) => new Chart(each, COLOURS[numbers.indexOf(each) % COLOURS.length], this.view),
    );
    this.chartBox.replaceChildren(...this.charts.map((chart) => chart.element));
    if (!numbers.length)
      this.chartBox.replaceChildren(h("p", { class: "muted" }, "No readings yet."));
    this.showLimits();
    if (this.series) this.showLines();
  }

  async fetch() {
    const words = this.store.words();
    if (this.closed || !this.numbers || this.numbers.length + words.length === 0) return;
    this.request?.abort();
    const { signal } = (this.request = new AbortController());
    this.added = [];
    this.asked = now();
    const keys = this.numbers.map((each) => each.key);
    const others = await this.comparison.shared();
    if (this.closed || signal.aborted) return;
    let found;
    try {
      found = await Promise.all([
        this.ask(
          this.store.id,
          [...keys, ...words.map((each) => each.key)].slice(0, MOST_NAMES),
          signal,
        ),
        ...others.map(([id, shared]) =>
          this.ask(
            id,
            keys.filter((key) => shared.includes(key)),
            signal,
          ).catch(() => ({})), // It was deleted, say.
        ),
      ]);
    } catch {
      if (!signal.aborted) this.added = null;
      return; // Central does not respond. Once it does, the messages are read again.
    }
    if (this.closed || signal.aborted) return;
    const { added } = this;
    this.added = null;
    this.series = found[0];
    this.others = new Map(others.map(([id], index) => [id, found[index + 1]]));
    this.learn();
    this.showLines();
    this.received(this.series, added);
  }

  ask(id, keys, signal) {
    const [from, to] = this.bounds();
    const query = new URLSearchParams({ since: String(Math.max(0, from)) });
    if (this.range?.span === Infinity) query.set("since", "0");
    if (!this.isLive()) query.set("until", String(to));
    for (const key of keys) query.append("name", key);
    return get(`${pagePath(id, "series")}?${query}`, signal);
  }

  // Takes from the answer how far back readings go, and the range of the first look.
  learn() {
    const all = [this.series, ...this.others.values()].flatMap((each) => Object.values(each));
    const oldest = all.map((each) => each.keptSince).filter((each) => each !== null);
    this.kept = oldest.length ? Math.min(...oldest) : null;
    if (this.range === null) {
      const isNew = this.kept === null || this.kept > now() - range.SHORT;
      this.range = { span: isNew ? range.SHORT : range.USUAL };
    }
    this.note();
  }

  showLines() {
    for (const chart of this.charts) {
      const { key } = chart.of;
      const own = this.series[key];
      if (!own) continue;
      const name = this.store.device?.displayName ?? this.store.id;
      const others = [...this.others].filter(([, series]) => series[key]);
      const lines = others.map(([id, series]) => makeLine(this.comparison.nameOf(id), series[key]));
      chart.show([makeLine(name, own), ...lines], own);
    }
  }

  showLimits() {
    for (const chart of this.charts) chart.showLimits(limitsOf(chart.of, this.store));
  }

  // Keeps a message that arrived during a request, for `received`.
  hold(message) {
    this.added?.push(message);
  }

  // Adds a reading, if the time shown has it.
  add(key, time, value, late) {
    const chart = this.charts.find((each) => each.of.key === key);
    const [from, to] = this.bounds();
    if (!chart || time < from || (!this.isLive() && time > to)) return;
    const unsure = chart.add(time, value, late);
    // If the page stays open for days, central thins the points.
    if (unsure || chart.lines[0]?.times.length > MOST_POINTS) this.fetchLater();
    this.drawSoon();
  }

  tick() {
    if (this.closed || !this.isLive()) return;
    this.note();
    this.draw();
    const [from, to] = this.bounds();
    if (this.others.size && now() - this.asked > (to - from) / PARTS) this.fetchSoon();
  }

  draw() {
    if (!this.closed) this.charts.forEach((chart) => chart.draw());
  }
}

// A time that was entered as the beginning (0) or the end (1) of a range, in unix seconds, and what
// there is to say about it. Of two times that clocks show alike, a range has all between.
function readTime(text, which) {
  const { times, exists } = range.localTimes(text);
  const time = which === 0 ? times[0] : times.at(-1);
  const said = `${text.slice(11, 16)} on ${day(time * 1000)}`;
  if (!exists)
    return { time, words: `Clocks are set forward and do not show ${said}; it is ${clockTime(time * 1000).slice(0, 5)} then.` };
  if (times.length < 2) return { time, words: "" };
  const taken = which === 0 ? "begins at the first" : "ends at the second";
  return { time, words: `Clocks are set back and show ${said} twice; the range ${taken}.` };
}

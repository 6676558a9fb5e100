// A line chart of one number over time. Gaps stay gaps, and late readings are drawn at their own
// time, with a dot.

import { h, setText } from "./dom.js";
import { clockTime, dateTime, now, number, withUnit } from "./format.js";

const HEIGHT = 170;
const DAY = 86400;
const GAP_FACTOR = 3; // A pause this many times the usual one is a gap.
const LEAST_GAP = 5; // Seconds.
// Of the time shown. Shorter gaps are narrower than the line, and pauses between points that central
// has thinned are no longer than this.
const LEAST_PART = 1 / 500;
const FONT = "11px system-ui, sans-serif";

export class Chart {
  constructor(element, colour) {
    this.of = element;
    this.colour = colour;
    this.times = [];
    this.values = [];
    this.late = []; // Of each reading, whether it arrived late.
    this.span = 3600;
    this.summary = h("span", { class: "chart-summary" });
    this.plotted = h("div", { class: "chart-plot", role: "img" });
    this.element = h(
      "section",
      { class: "chart" },
      h("header", {}, h("h3", { class: "series" }, element.title), this.summary),
      this.plotted,
    );
    this.element.style.setProperty("--series", `var(${colour})`);
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.plotted);
    this.theme = matchMedia("(prefers-color-scheme: dark)");
    this.repaint = () => this.build();
    this.theme.addEventListener("change", this.repaint);
  }

  close() {
    this.theme.removeEventListener("change", this.repaint);
    this.sizes.disconnect();
    this.plot?.destroy();
  }

  // `late` has the indexes of the late readings.
  show(times, values, late, span) {
    const marks = times.map(() => false);
    for (const place of late) marks[place] = true;
    Object.assign(this, { times: [...times], values: [...values], late: marks, span });
    this.draw();
  }

  add(time, value, late) {
    let place = this.times.length;
    while (place > 0 && this.times[place - 1] > time) place -= 1;
    if (this.times[place - 1] === time && this.values[place - 1] === value) return;
    this.times.splice(place, 0, time);
    this.values.splice(place, 0, value);
    this.late.splice(place, 0, late);
  }

  draw() {
    const first = now() / 1000 - this.span;
    let start = 0;
    while (start < this.times.length && this.times[start] < first) start += 1;
    this.times.splice(0, start);
    this.values.splice(0, start);
    this.late.splice(0, start);
    this.describe(null);
    if (this.plot) this.plot.setData(this.data());
    else this.build();
  }

  build() {
    this.plot?.destroy();
    this.plot = null;
    const width = this.plotted.clientWidth;
    if (width === 0) return;
    const style = getComputedStyle(this.plotted);
    const colour = style.getPropertyValue(this.colour).trim();
    const axis = {
      stroke: style.getPropertyValue("--muted").trim(),
      font: FONT,
      ticks: { show: false },
      grid: { stroke: style.getPropertyValue("--line").trim(), width: 1 },
    };
    const options = {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { setScale: false, x: false }, sync: { key: "time" } },
      scales: {
        x: { time: true, range: () => [now() / 1000 - this.span, now() / 1000] },
        y: { range: valueRange },
      },
      axes: [
        {
          ...axis,
          values: (_, ticks) => ticks.map((tick) => this.tick(tick)),
          space: 70,
          size: 26,
        },
        {
          ...axis,
          size: 44,
          values: (_, ticks) => ticks.map((tick) => String(Number(tick.toPrecision(6)))),
        },
      ],
      series: [
        {},
        {
          stroke: colour,
          width: 2,
          fill: `${colour}1f`,
          points: { size: 4, fill: colour, filter: lone },
        },
        {
          stroke: colour,
          paths: () => null,
          points: {
            show: true,
            size: 6,
            width: 1.5,
            fill: style.getPropertyValue("--card").trim(),
          },
        },
      ],
      hooks: { setCursor: [(plot) => this.describe(plot.cursor.idx)] },
    };
    this.plot = new uPlot(options, this.data(), this.plotted);
  }

  // Times, values, and the late values again, which get a dot.
  data() {
    return withGaps(
      this.times,
      this.values,
      this.values.map((value, index) => (this.late[index] ? value : null)),
      this.span,
    );
  }

  resize() {
    if (!this.plot) this.build();
    else if (this.plotted.clientWidth)
      this.plot.setSize({ width: this.plotted.clientWidth, height: HEIGHT });
  }

  tick(seconds) {
    if (this.span > DAY)
      return new Date(seconds * 1000).toLocaleDateString(undefined, {
        day: "numeric",
        month: "short",
      });
    return clockTime(seconds * 1000).slice(0, 5);
  }

  // Writes the range of the values, or the value under the pointer.
  describe(index) {
    const text = (value) => withUnit(number(value, this.of.schema.kind), this.of.unit);
    const point = index === null || index === undefined ? undefined : this.plot?.data[1][index];
    if (typeof point === "number") {
      setText(this.summary, `${text(point)} at ${dateTime(this.plot.data[0][index] * 1000)}`);
      return;
    }
    if (!this.values.length) {
      setText(this.summary, "No readings in this period");
      this.plotted.setAttribute("aria-label", `${this.of.title}: no readings in this period.`);
      return;
    }
    const [lowest, highest] = this.values.reduce(
      ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
      [Infinity, -Infinity],
    );
    setText(this.summary, `${text(lowest)} to ${text(highest)}`);
    this.plotted.setAttribute(
      "aria-label",
      `${this.of.title} from ${text(lowest)} to ${text(highest)}, last ${text(this.values.at(-1))}.`,
    );
  }
}

// A flat line is drawn in the middle, and noise is not magnified.
function valueRange(_, low, high) {
  if (low === null || high === null) return [0, 1];
  const middle = (low + high) / 2;
  const half = Math.max((high - low) * 0.6, Math.abs(middle) * 0.01, 0.5);
  return [middle - half, middle + half];
}

// Readings between two gaps get a dot even if there are too many readings for dots.
function lone(plot, series, dots) {
  if (dots) return null;
  const isGap = (value) => value === null || value === undefined;
  const values = plot.data[series];
  return [...values.keys()].filter(
    (at) => !isGap(values[at]) && isGap(values[at - 1]) && isGap(values[at + 1]),
  );
}

export function withGaps(times, values, late, span) {
  if (times.length < 3) return [times, values, late];
  const steps = times.slice(1).map((time, index) => time - times[index]);
  const usual = [...steps].sort((a, b) => a - b)[Math.floor(steps.length / 2)];
  const longest = Math.max(usual * GAP_FACTOR, LEAST_GAP, span * LEAST_PART);
  const x = [times[0]];
  const y = [values[0]];
  const dots = [late[0]];
  for (let index = 1; index < times.length; index += 1) {
    if (times[index] - times[index - 1] > longest) {
      x.push((times[index] + times[index - 1]) / 2);
      y.push(null);
      dots.push(null);
    }
    x.push(times[index]);
    y.push(values[index]);
    dots.push(late[index]);
  }
  return [x, y, dots];
}

// A line chart of one number over time, of one device or of several. Gaps stay gaps, late readings
// are drawn at their own time, with a dot, and limits are horizontal lines.

import { h, setText } from "./dom.js";
import { clockTime, dateTime, day, now, number, withUnit } from "./format.js";
import { listenToKeys, listenToPointers } from "./gestures.js";
import { offset, offsetsWithin } from "./range.js";

const HEIGHT = 180;
const DAY = 86400;
const MINUTE = 60;
const GAP_FACTOR = 3; // As in central, for the readings that arrive after its answer.
const LEAST_GAP = 5; // Seconds.
const CLOSE = 4; // A limit is drawn unless the chart would become so many times as high for it.
const [KEEP, WIDEN] = [1, 2]; // What uPlot.join does with null.
const FONT = "11px system-ui, sans-serif";
// Lines differ in colour and in dashes, so that nobody needs to see colours. See --line-1 in CSS.
export const DASHES = [[], [8, 4], [2, 3], [12, 4, 2, 4], [5, 2], [12, 3, 2, 3, 2, 3]];
export const MOST_LINES = DASHES.length;

// A line of a chart from what central answers for a series.
export function makeLine(name, { times, values, late, gaps, interval }) {
  const [isLate, afterGap] = [new Set(late), new Set(gaps)];
  return {
    name,
    interval,
    times: [...times],
    values: [...values],
    late: times.map((_, at) => isLate.has(at)),
    gaps: times.map((_, at) => afterGap.has(at)),
  };
}

// Adds a reading that arrived. Returns whether only central can tell where the gaps are now.
export function addReading(line, time, value, late) {
  let place = line.times.length;
  while (place > 0 && line.times[place - 1] > time) place -= 1;
  const pause = place ? time - line.times[place - 1] : 0;
  if (place && pause === 0 && line.values[place - 1] === value) return false;
  const isLast = place === line.times.length;
  const gap = line.interval !== null && pause > Math.max(GAP_FACTOR * line.interval, LEAST_GAP);
  line.times.splice(place, 0, time);
  line.values.splice(place, 0, value);
  line.late.splice(place, 0, late);
  line.gaps.splice(place, 0, isLast && gap);
  return gap || !isLast || line.interval === null;
}

export class Chart {
  constructor(element, colour, view) {
    this.of = element;
    this.colour = colour;
    this.view = view;
    this.lines = [];
    this.limits = [];
    this.summary = h("span", { class: "chart-summary" });
    this.plotted = h("div", {
      class: "chart-plot",
      role: "img",
      tabindex: "0",
      "aria-keyshortcuts": "ArrowLeft ArrowRight + - End 0",
    });
    this.emptyWords = h("span");
    this.empty = h("p", { class: "chart-empty", hidden: true }, this.emptyWords);
    this.isEmpty = true; // No line is drawn in the time shown.
    this.legend = h("ul", { class: "legend", "aria-label": `Lines of ${element.title}` });
    this.title = h("h3", {}, element.title, element.unit && h("span", {}, ` (${element.unit})`));
    this.element = h(
      "section",
      { class: "chart" },
      h("header", {}, this.title, this.summary),
      h("div", { class: "chart-box" }, this.plotted, this.empty),
      this.legend,
    );
    this.element.style.setProperty("--series", `var(${colour})`);
    listenToKeys(this.plotted, view);
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

  // Shows lines as central answered. `known` is what it answered for the first of them.
  show(lines, known) {
    const before = this.lines.length;
    this.lines = lines;
    this.known = known;
    this.isWaiting = false;
    this.title.classList.toggle("series", lines.length < 2);
    this.makeLegend();
    if (before !== lines.length) this.build();
    this.draw();
  }

  // `limits` are {label, value, pending, since}.
  showLimits(limits) {
    if (JSON.stringify(limits) === JSON.stringify(this.limits)) return;
    this.limits = limits;
    this.makeLegend();
    this.draw();
  }

  add(time, value, late) {
    return this.lines.length > 0 && addReading(this.lines[0], time, value, late);
  }

  draw() {
    const [from] = this.view.bounds();
    for (const line of this.lines) dropBefore(line, from);
    this.describe(null);
    if (this.plot) this.plot.setData(this.data());
    else this.build();
  }

  // Draws the same readings with other bounds, until central has answered.
  move() {
    this.isWaiting = true;
    this.describe(null);
    this.plot?.setData(this.data());
  }

  build() {
    this.plot?.destroy();
    this.plot = null;
    const width = this.plotted.clientWidth;
    if (width === 0) return;
    const style = getComputedStyle(this.plotted);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"),
      font: FONT,
      ticks: { show: false },
      grid: { stroke: colour("--line"), width: 1 },
    };
    const several = this.lines.length > 1;
    const series = Array.from({ length: Math.max(this.lines.length, 1) }, (_, index) =>
      lineStyle(colour(several ? `--line-${index + 1}` : this.colour), several ? index : null, colour),
    );
    const options = {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: {
        y: false,
        drag: { setScale: false, x: true, y: false, dist: 6 },
        sync: { key: "time" },
        bind: {
          dblclick: () => () => this.view.reset(),
          mousedown: (_, __, begin) => (event) => event.shiftKey || begin(event),
        },
      },
      scales: {
        x: { time: true, range: () => this.view.bounds() },
        y: {
          range: (_, low, high) =>
            this.isEmpty ? valueRange(null, null, this.limits) : valueRange(low, high, this.limits),
        },
      },
      axes: [
        { ...axis, values: timeLabels, space: 70, size: 40 },
        {
          ...axis,
          size: 48,
          values: (_, ticks) =>
            this.isEmpty && !this.limits.length
              ? []
              : ticks.map((tick) => String(Number(tick.toPrecision(6)))),
        },
      ],
      series: [{}, ...series.flat()],
      hooks: {
        setCursor: [(plot) => this.describe(plot.cursor.left >= 0 ? plot : null)],
        setSelect: [(plot) => this.zoomTo(plot)],
        draw: [
          (plot) => drawLimits(plot, this.limits, colour("--bad"), colour("--muted")),
          (plot) => this.placeLimits(plot.scales.y),
        ],
      },
    };
    this.plot = new uPlot(options, this.data(), this.plotted);
    listenToPointers(this.plot.over, this.view);
  }

  // Says of a limit that is too far away where it is, and of a new one since when it is known.
  placeLimits({ min, max }) {
    const [from, to] = this.view.bounds();
    this.limits.forEach(({ value, since }, index) => {
      const place = value > max ? ", above the chart" : value < min ? ", below the chart" : "";
      const known = since > from ? `, not known before ${pointTime(since, [from, to])}` : "";
      setText(this.places[index], place + known);
    });
  }

  zoomTo(plot) {
    const { left, width } = plot.select;
    if (width === 0) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.view.showBetween(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  }

  // The times, and of each line the values, and the late ones again, which get a dot.
  data() {
    if (!this.lines.length) return [[], [], []];
    // Lines have times of their own. A gap of one goes on at the times of the others.
    const modes = this.lines.map(() => [0, WIDEN, KEEP]);
    return uPlot.join(this.lines.map(withGaps), modes);
  }

  resize() {
    if (!this.plot) this.build();
    else if (this.plotted.clientWidth)
      this.plot.setSize({ width: this.plotted.clientWidth, height: HEIGHT });
  }

  makeLegend() {
    const several = this.lines.length > 1;
    this.values = this.lines.map(() => h("span", { class: "muted" }));
    const entries = this.lines.map((line, index) => {
      const words = h("span", {}, `${line.name} `, this.values[index]);
      const entry = h("li", {}, sample(DASHES[index]), words);
      entry.style.setProperty("--series", `var(--line-${index + 1})`);
      return entry;
    });
    this.places = this.limits.map(() => h("span"));
    const limits = this.limits.map(({ label, value, pending }, index) => {
      const state = pending ? ", not confirmed by the device" : "";
      const words = h("span", { class: "muted" }, this.text(value), state, this.places[index]);
      return h(
        "li",
        { class: pending ? "limit pending" : "limit" },
        sample(pending ? PENDING : IN_FORCE),
        h("span", {}, several ? `${this.lines[0].name}: ` : "", `${label} `, words),
      );
    });
    this.legend.replaceChildren(...(several ? entries : []), ...limits);
    this.legend.hidden = !this.legend.children.length;
  }

  text(value) {
    return withUnit(number(value, this.of.schema.kind), this.of.unit);
  }

  // Writes the values under the pointer, or else the range of each line.
  describe(plot) {
    if (!this.lines.length) return;
    const bounds = this.view.bounds();
    const extents = this.lines.map((line) => extent(line, bounds));
    const words = this.lines.map((_, index) => {
      const at = plot?.cursor.idxs[1 + 2 * index];
      const value = typeof at === "number" ? plot.data[1 + 2 * index][at] : null;
      return typeof value === "number" ? this.text(value) : this.extentText(extents[index]);
    });
    const several = this.lines.length > 1;
    const idx = plot?.cursor.idx;
    const time = typeof idx === "number" ? pointTime(plot.data[0][idx], bounds) : null;
    const isPoint = time !== null && typeof plot.data[1][plot.cursor.idxs[1]] === "number";
    if (several) this.values.forEach((each, index) => setText(each, words[index]));
    if (several) setText(this.summary, time ? `at ${time}` : "");
    else setText(this.summary, isPoint ? `${words[0]} at ${time}` : words[0]);
    if (plot) return;
    const parts = this.lines.map((line, index) => {
      const ending = extents[index] ? `, last ${this.text(extents[index].last)}` : "";
      return `${several ? `${line.name}: ` : ""}${this.extentText(extents[index])}${ending}`;
    });
    this.plotted.setAttribute("aria-label", `${this.of.title}${several ? "." : ":"} ${parts.join("; ")}.`);
    this.isEmpty = !extents.some(Boolean) && !this.lines.some((line) => crosses(line, bounds));
    this.empty.hidden = !this.isEmpty || this.isWaiting;
    if (this.isEmpty) setText(this.emptyWords, this.emptyText(bounds));
    this.summary.hidden = !this.empty.hidden;
  }

  extentText(found) {
    if (!found) return this.isWaiting ? "loading" : "No readings in this period";
    const [lowest, highest] = [found.lowest, found.highest].map((value) => this.text(value));
    if (found.count === 1) return `${lowest}, one reading`;
    return lowest === highest ? lowest : `${lowest} to ${highest}`;
  }

  // Says where there are readings, if there is none in the time shown.
  emptyText(bounds) {
    const [from, to] = bounds;
    const { last, keptSince } = this.known;
    if (!last) return "No readings yet.";
    const newest = Date.parse(last.timestamp) / 1000;
    if (newest < from)
      return `No readings in this period. The last one is from ${pointTime(newest, bounds)}.`;
    if (keptSince > to)
      return `No readings in this period. The oldest one that is kept is from ${pointTime(keptSince, bounds)}.`;
    return "No readings in this period.";
  }
}

// What there is of a line between two times: {count, lowest, highest, last}, or null.
function extent(line, [from, to]) {
  let found = null;
  line.values.forEach((value, at) => {
    if (line.times[at] < from || line.times[at] > to) return;
    found ??= { count: 0, lowest: value, highest: value, last: value };
    found.count += 1;
    found.lowest = Math.min(found.lowest, value);
    found.highest = Math.max(found.highest, value);
    found.last = value;
  });
  return found;
}

// Whether a line goes from a reading before the time shown to one after it.
function crosses(line, [from, to]) {
  const next = line.times.findIndex((time) => time > to);
  return next > 0 && line.times[next - 1] < from && !line.gaps[next];
}

// A time, with the offset of the time zone if that changes within the time shown.
function pointTime(seconds, bounds) {
  const text = dateTime(seconds * 1000);
  return offsetsWithin(bounds).length > 1 ? `${text} ${offset(seconds)}` : text;
}

// Drops the readings before a time, except the last of them: the line begins at the left edge.
function dropBefore(line, from) {
  let start = 0;
  while (start < line.times.length && line.times[start] < from) start += 1;
  for (const each of [line.times, line.values, line.late, line.gaps])
    each.splice(0, Math.max(0, start - 1));
}

const IN_FORCE = [7, 4];
const PENDING = [2, 4];
const FAINT = 0.5;

function lineStyle(stroke, place, colour) {
  return [
    {
      stroke,
      width: 2,
      dash: place === null ? undefined : DASHES[place],
      fill: place === null ? `${stroke}1f` : undefined,
      points: { size: 4, fill: stroke, filter: lone },
    },
    {
      stroke,
      paths: () => null,
      points: { show: true, size: 6, width: 1.5, fill: colour("--card") },
    },
  ];
}

// A piece of a line for the legend.
function sample(dashes) {
  const namespace = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(namespace, "svg");
  const stroke = document.createElementNS(namespace, "path");
  picture.setAttribute("viewBox", "0 0 30 8");
  picture.setAttribute("aria-hidden", "true");
  stroke.setAttribute("d", "M0 4H30");
  stroke.setAttribute("stroke-dasharray", dashes.join(" "));
  picture.append(stroke);
  return picture;
}

function drawLimits(plot, limits, colour, muted) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  const [left, right] = [bbox.left, bbox.left + bbox.width];
  for (const { value, pending, since } of limits) {
    const y = Math.round(plot.valToPos(value, "y", true)) + 0.5;
    const known = Math.min(Math.max(plot.valToPos(since, "x", true), left), right);
    ctx.strokeStyle = pending ? muted : colour;
    ctx.lineWidth = 1.5 * scale;
    ctx.setLineDash((pending ? PENDING : IN_FORCE).map((length) => length * scale));
    // Before it was reported, the limit may have been another.
    for (const [begin, end, alpha] of [[left, known, FAINT], [known, right, 1]]) {
      ctx.globalAlpha = alpha;
      ctx.beginPath();
      ctx.moveTo(begin, y);
      ctx.lineTo(end, y);
      ctx.stroke();
    }
  }
  ctx.restore();
}

// Seconds only where minutes repeat, the date at the first label and with each new day, and the year
// with each that is not the year before it.
export function timeLabels(_, ticks, __, ___, step) {
  let shown = "";
  let shownYear = new Date(now()).getFullYear();
  return ticks.map((tick) => {
    const date = day(tick * 1000);
    const time = step >= DAY ? "" : clockTime(tick * 1000).slice(0, step < MINUTE ? 8 : 5);
    const year = new Date(tick * 1000).getFullYear();
    const isNew = date !== shown;
    const isNewYear = year !== shownYear;
    [shown, shownYear] = [date, year];
    if (!time) return isNewYear ? `${date}\n${year}` : date;
    return isNew ? `${time}\n${isNewYear ? `${date} ${year}` : date}` : time;
  });
}

// A flat line is drawn in the middle, and noise is not magnified. Limits that are close are shown.
export function valueRange(low, high, limits = []) {
  if (low === null || high === null) {
    if (!limits.length) return [0, 1];
    const values = limits.map((each) => each.value);
    [low, high] = [Math.min(...values), Math.max(...values)];
  }
  const middle = (low + high) / 2;
  const half = Math.max((high - low) * 0.6, Math.abs(middle) * 0.01, 0.5);
  let [least, most] = [middle - half, middle + half];
  for (const { value } of limits) {
    const [below, above] = [Math.min(least, value - half / 5), Math.max(most, value + half / 5)];
    if (above - below <= 2 * half * CLOSE) [least, most] = [below, above];
  }
  return [least, most];
}

// Readings between two gaps get a dot even if there are too many readings for dots.
function lone(plot, series, dots) {
  if (dots) return null;
  const values = plot.data[series];
  const isGap = (at, step) => {
    let beside = at + step;
    while (values[beside] === undefined && beside >= 0 && beside < values.length) beside += step;
    return values[beside] === null || values[beside] === undefined;
  };
  return [...values.keys()].filter(
    (at) => typeof values[at] === "number" && isGap(at, -1) && isGap(at, 1),
  );
}

// The times, values and late values of a line, with null in each gap.
export function withGaps(line) {
  const [x, y, dots] = [[], [], []];
  line.times.forEach((time, at) => {
    if (line.gaps[at] && at > 0) {
      x.push((time + line.times[at - 1]) / 2);
      y.push(null);
      dots.push(null);
    }
    x.push(time);
    y.push(line.values[at]);
    dots.push(line.late[at] ? line.values[at] : null);
  });
  return [x, y, dots];
}

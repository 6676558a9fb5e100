// How values and times are written.

import { isNoLimit, special } from "./special.js";

let offset = 0; // Milliseconds by which central's clock is ahead of the browser's.

export function setClock(iso) {
  offset = Date.parse(iso) - Date.now();
}

export function now() {
  return Date.now() + offset;
}

// A number with its unit: 45 %, 21.5 °C.
export function withUnit(text, unit) {
  return unit ? `${text}\u202f${unit}` : text;
}

// A measured value always has the same digits, so that 20.0 does not look less precise than 19.9.
export function number(value, kind) {
  if (typeof value !== "number" || !Number.isFinite(value)) return plain(value);
  if (Number.isInteger(value) && kind !== "double") return wholeNumber(value);
  const size = Math.abs(value);
  if (size >= 10_000) return wholeNumber(Math.round(value));
  return size === 0 || size >= 0.1 ? value.toFixed(1) : value.toPrecision(2);
}

// Groups of three from five digits on: 264 212 084, but 1013.
export function wholeNumber(value) {
  if (Math.abs(value) < 10_000) return String(value);
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

// A number of things: 1 message, 2 messages.
export function counted(amount, thing) {
  return `${wholeNumber(amount)} ${thing}${amount === 1 ? "" : "s"}`;
}

// Any JSON value as text.
export function plain(value) {
  if (value === undefined || value === null) return "—";
  return typeof value === "string" ? value : JSON.stringify(value);
}

// A description that ends in a list of numbers with their meanings: "...: 1 (high), 2 (low)."
const CHOICES = /: ((?:-?\d+ \([^()]+\)(?:, or | or |, |\.?$)){2,})$/;

// The choices for a whole number, as pairs of text and label, if its description lists them.
export function choicesOf({ schema, description }) {
  const list = schema?.kind === "integer" ? CHOICES.exec(description ?? "") : null;
  if (!list) return null;
  return [...list[1].matchAll(/(-?\d+) \(([^()]+)\)/g)].map(([, number, words]) => [
    number,
    words[0].toUpperCase() + words.slice(1),
  ]);
}

// A value as its schema says: an enum's label, a time in the reader's zone, a number with its unit.
export function valueText(value, element) {
  if (value === undefined || value === null) return "—";
  if (value === "") return "(empty)";
  const schema = element?.schema;
  if (isNoLimit(element, value)) return "No limit";
  const choice = element && choicesOf(element)?.find(([number]) => number === String(value));
  if (choice) return choice[1];
  if (schema?.kind === "enum")
    return schema.values.find((each) => each.value === value)?.label ?? plain(value);
  if (typeof value === "boolean") {
    const [yes, no] = special(element).words ?? ["Yes", "No"];
    return value ? yes : no;
  }
  if (schema?.kind === "dateTime" && typeof value === "string" && !Number.isNaN(Date.parse(value)))
    return dateTime(Date.parse(value));
  if (typeof value === "number") return withUnit(number(value, schema?.kind), element?.unit);
  if (schema?.kind === "object" && schema.fields.length && isObject(value))
    return objectText(value, schema.fields);
  return plain(value);
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

// An object by its fields' labels.
function objectText(value, fields) {
  const known = new Map(fields.map((each) => [each.name, each]));
  const parts = Object.entries(value).map(
    ([name, part]) => `${known.get(name)?.label ?? name} ${valueText(part, known.get(name))}`,
  );
  return parts.join(", ") || "—";
}

const TIME = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  year: "numeric",
});

export function clockTime(milliseconds) {
  return TIME.format(milliseconds);
}

export function day(milliseconds) {
  return DAY.format(milliseconds);
}

// The time, and the date unless it is today.
export function dateTime(milliseconds) {
  const then = new Date(milliseconds);
  const today = new Date(now());
  if (then.toDateString() === today.toDateString()) return TIME.format(then);
  const day = then.getFullYear() === today.getFullYear() ? DAY : YEAR;
  return `${day.format(then)}, ${TIME.format(then)}`;
}

export function timeText(iso) {
  return iso ? dateTime(Date.parse(iso)) : "—";
}

const STEPS = [
  [60, "s"],
  [60, "min"],
  [24, "h"],
  [Infinity, "d"],
];

export function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 1) return `${Math.max(0, Math.round(milliseconds))} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return coarse(seconds);
}

function coarse(seconds) {
  let amount = seconds;
  for (const [size, unit] of STEPS) {
    if (amount < size) return `${Math.floor(amount)} ${unit}`;
    amount /= size;
  }
  return "";
}

// The time since then: "3 h".
export function since(iso) {
  return coarse(Math.max(0, now() - Date.parse(iso)) / 1000);
}

export function age(iso) {
  if (!iso) return "never";
  const seconds = (now() - Date.parse(iso)) / 1000;
  if (seconds < -5) return "in the future";
  return seconds < 2 ? "now" : `${coarse(seconds)} ago`;
}

// Sets the text that `write` returns, and updates it each second.
export function ticking(element, write) {
  element.tick = () => {
    const text = write();
    if (element.textContent !== text) element.textContent = text;
  };
  element.setAttribute("data-ticking", "");
  element.tick();
  return element;
}

setInterval(() => {
  for (const element of document.querySelectorAll("[data-ticking]")) element.tick();
}, 1000);

// The time that charts show. A range that ends now is `{span}`, in seconds, which may be Infinity:
// all that is kept. Any other is `{from, to}`, in unix seconds. Nothing here depends on the document.

export const PRESETS = [
  [600, "10 min"],
  [3600, "Hour"],
  [86400, "Day"],
  [604800, "Week"],
  [2592000, "Month"],
  [Infinity, "All"],
];
export const [SHORT, USUAL] = [PRESETS[0][0], PRESETS[1][0]];
const LEAST = 10; // Seconds.
const MOST = 3660 * 86400;
const NEAR = 0.01; // Of a range. One that ends so close to now ends now.

// The range as its two ends. `kept` is the time of the oldest reading, if it is known.
export function boundsOf(range, now, kept = null) {
  if ("from" in range) return [range.from, range.to];
  if (range.span !== Infinity) return [now - range.span, now];
  return [kept === null || kept > now - LEAST ? now - USUAL : kept, now];
}

// The range between two times, moved and cut so that it is within what can be shown.
export function between(from, to, now, kept = null) {
  const length = Math.min(Math.max(to - from, LEAST), MOST);
  const middle = (from + to) / 2;
  let [begin, end] = [middle - length / 2, middle + length / 2];
  if (end > now) [begin, end] = [begin - (end - now), now];
  const oldest = Math.min(kept ?? now - MOST, now - LEAST);
  if (begin < oldest) [begin, end] = [oldest, Math.min(oldest + length, now)];
  if (end > now - length * NEAR)
    return { span: begin === kept ? Infinity : Math.min(now - begin, MOST) };
  return { from: begin, to: end };
}

// The range moved by a share of its length: a negative one moves it into the past.
export function panned(range, share, now, kept = null) {
  const [from, to] = boundsOf(range, now, kept);
  const by = (to - from) * share;
  return between(from + by, to + by, now, kept);
}

// The range with its length multiplied. `at` is the place that stays, as a share of the length.
export function zoomed(range, factor, now, kept = null, at = null) {
  const [from, to] = boundsOf(range, now, kept);
  const fixed = at ?? ("from" in range ? 0.5 : 1); // What ends now goes on doing so.
  const middle = from + (to - from) * fixed;
  const length = Math.max((to - from) * factor, LEAST);
  return between(middle - length * fixed, middle + length * (1 - fixed), now, kept);
}

// The query of an address as {range, field, devices}; `range` and `field` are null if it has none.
export function readQuery(text) {
  const query = new URLSearchParams(text);
  return {
    range: readRange(query),
    field: query.get("show"),
    devices: [...new Set(query.getAll("with"))],
  };
}

function readRange(query) {
  const last = query.get("last");
  if (last === "all") return { span: Infinity };
  const span = Number(last);
  if (span >= LEAST && span <= MOST) return { span };
  const [from, to] = ["from", "to"].map((name) => Date.parse(query.get(name) ?? "") / 1000);
  return from >= 0 && to - from >= LEAST && to - from <= MOST ? { from, to } : null;
}

// The same as a query, with times in UTC: its reader may be in another time zone.
export function writeQuery({ range, field, devices }) {
  const query = new URLSearchParams();
  if (range && "from" in range) {
    query.set("from", utc(range.from));
    query.set("to", utc(range.to));
  } else if (range) {
    query.set("last", range.span === Infinity ? "all" : String(Math.round(range.span)));
  }
  if (field !== null) query.set("show", field);
  for (const id of devices) query.append("with", id);
  return query.toString().replaceAll("%3A", ":");
}

function utc(seconds) {
  return new Date(seconds * 1000).toISOString().replace(/(\.\d+)?Z$/, "Z");
}

// The time zone of the reader, with its offset at the two ends of a range: it may change between.
export function zoneText([from, to]) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const offsets = [...new Set([from, to].map((seconds) => offset(seconds)))];
  const found = offsets.join(", then ");
  return zone === found ? zone : `${zone} (${found})`;
}

function offset(seconds) {
  const minutes = -new Date(seconds * 1000).getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  if (minutes === 0) return "UTC";
  return `UTC${minutes < 0 ? "−" : "+"}${hours}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}

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
const MINUTE = 60_000; // Milliseconds.
const LOOKS = 200; // At the offset of the time zone within a range.
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
  const next = between(from + by, to + by, now, kept);
  if ("from" in next) return next;
  return "span" in range ? range : { span: to - from }; // No more is kept, or it is the present.
}

// The range moved to the present.
export function latest(range, now, kept = null) {
  const [from, to] = boundsOf(range, now, kept);
  return { span: to - from };
}

// The range with its length multiplied. `at` is the place that stays, as a share of the length.
export function zoomed(range, factor, now, kept = null, at = null) {
  const [from, to] = boundsOf(range, now, kept);
  const fixed = at ?? ("from" in range ? 0.5 : 1); // What ends now goes on doing so.
  const middle = from + (to - from) * fixed;
  const length = Math.max((to - from) * factor, LEAST);
  const next = between(middle - length * fixed, middle + length * (1 - fixed), now, kept);
  const [begin, end] = boundsOf(next, now, kept);
  return factor > 1 && end - begin < to - from ? range : next; // All that is kept may be shorter.
}

// The range between two times that a user entered. It may end in the future.
export function entered(from, to, now) {
  if (Math.abs(to - now) <= (to - from) * NEAR) return { span: Math.max(now - from, LEAST) };
  return { from, to: Math.max(to, from + LEAST) };
}

// Why two times, which may be NaN, cannot be shown, as [index of the time, sentence]; else null.
export function refusal(from, to, now) {
  if (!(from >= 0)) return [0, "Enter a time after 1970."];
  if (from > now) return [0, "This must be earlier than now."];
  if (!(to > from)) return [1, "This must be later than the time above."];
  return to - from > MOST ? [1, "A chart shows at most ten years."] : null;
}

// The query of an address as {range, field, devices, wrong}. `range` and `field` are null if it has
// none, and `wrong` if it has no range that is not valid.
export function readQuery(text) {
  const query = new URLSearchParams(text);
  const range = readRange(query);
  const hasRange = ["last", "from", "to"].some((name) => query.has(name));
  return {
    range,
    field: query.get("show"),
    devices: [...new Set(query.getAll("with"))],
    wrong: hasRange && !range,
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

// The time zone of the reader, with the offsets that it has within a range.
export function zoneText(bounds) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const offsets = offsetsWithin(bounds);
  const distinct = [...new Set(offsets)];
  const found = distinct.join(distinct.length < offsets.length ? " or " : ", then ");
  return zone === found ? zone : `${zone} (${found})`;
}

// The offsets of a range in their order. One that comes again is there again.
export function offsetsWithin([from, to]) {
  const offsets = [];
  for (let index = 0; index <= LOOKS; index += 1) {
    const found = offset(from + ((to - from) * index) / LOOKS);
    if (found !== offsets.at(-1)) offsets.push(found);
  }
  return offsets;
}

// The unix times at which clocks here show a local time, such as 2026-10-25T02:30. When clocks are
// set back there are two. When they are set forward there is none: then `exists` is false, and the time
// is the one that clocks would show without the change.
export function localTimes(text) {
  const local = Date.parse(`${text}Z`);
  if (Number.isNaN(local)) return { times: [NaN], exists: true };
  const offsetOf = (time) => new Date(time).getTimezoneOffset() * MINUTE;
  // The offsets before and after: no place changes its clocks twice in two days.
  const offsets = [local - 86_400_000, local + 86_400_000].map(offsetOf);
  const found = [...new Set(offsets)].filter((each) => offsetOf(local + each) === each);
  const exists = found.length > 0;
  const times = (exists ? found : [offsets[0]]).map((each) => (local + each) / 1000);
  return { times: times.sort((a, b) => a - b), exists };
}

export function offset(seconds) {
  const minutes = -new Date(seconds * 1000).getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  if (minutes === 0) return "UTC";
  return `UTC${minutes < 0 ? "−" : "+"}${hours}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}

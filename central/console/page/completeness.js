// Whether all messages of a device arrived, in words.

import { h } from "./dom.js";
import { counted, timeText } from "./format.js";

const LOST = {
  missing: "missing",
  age: "dropped: too old",
  room: "dropped: outbox full",
  memory: "dropped: memory full",
  damaged: "damaged on the device",
};
const MOST_RANGES = 4; // Of missing numbers, the newest.
const COMPLETE = "Counted from the message ids, across restarts of the device.";
const UNKNOWN =
  "After a restart, a device says which message came before. One is not known here, so earlier " +
  "messages may be missing.";

// Returns the elements for what central answers at `completeness`.
export function completenessText({ since, received, late, duplicates, startUnknown, lost, gaps }) {
  const losses = Object.entries(LOST)
    .filter(([reason]) => lost[reason])
    .flatMap(([reason, words]) => {
      const found = gaps.filter((gap) => gap.reason === reason);
      const numbers = reason === "missing" ? `: ${numbersText(found)}` : "";
      return [badge("busy", `${lost[reason]} ${words}${numbers}`), h("span", {}, timesText(found))];
    });
  return [
    h("span", {}, `${counted(received, "message")} since ${timeText(since)}`),
    lost.missing || startUnknown ? null : badge("fine", "none missing", COMPLETE),
    startUnknown ? badge("busy", "start unknown", UNKNOWN) : null,
    ...losses,
    h("span", { class: "late" }, late ? `${late} late` : ""),
    h("span", {}, duplicates ? counted(duplicates, "duplicate") : ""),
  ].filter(Boolean);
}

function badge(kind, text, title) {
  return h("span", { class: "badge", "data-kind": kind, title }, text);
}

function numbersText(gaps) {
  const shown = gaps
    .slice(-MOST_RANGES)
    .map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
  return (gaps.length > MOST_RANGES ? "... " : "") + shown.join(", ");
}

// When the lost messages were taken.
function timesText(gaps) {
  const [after, before] = [gaps[0]?.after, gaps.at(-1)?.before];
  if (after && before) return `between ${timeText(after)} and ${timeText(before)}`;
  if (after) return `after ${timeText(after)}`;
  return before ? `before ${timeText(before)}` : "";
}

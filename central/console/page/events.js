// Central's live events, and whether central responds.

import { readSession } from "./access.js";
import { setText } from "./dom.js";
import { setClock } from "./format.js";

// `alive` says nothing, and comes when nothing else does.
const KINDS = ["device", "connection", "telemetry", "twin", "command"];
const ALL = ["hello", "lagged", "alive", "faults", "alerts", ...KINDS];
// After these, the page reads the faults or the alerts again.
const READ_AGAIN = { faults: ["hello", "faults"], alerts: ["hello", "alerts"] };
const RETRY = 2000; // Milliseconds.
const GRACE = 1500; // Milliseconds without central before the page reports it.
// Milliseconds without any event after which central is gone. It sends one at least every 5 s.
const PATIENCE = 12_000;

// Calls `heard(kind, data)` for each event, and with "everything" if events may have been missed: at
// the start, after central did not respond, and after the page was hidden.
export function listen(device, heard) {
  let source = null;
  let timer = null;
  let watch = null;

  const lost = () => {
    showGone();
    close();
    readSession().catch(() => null); // Perhaps the sign-in has expired.
    timer = setTimeout(open, RETRY);
  };
  const alive = () => {
    clearTimeout(watch);
    watch = setTimeout(lost, PATIENCE);
  };
  const open = () => {
    close();
    // A browser opens few connections to one server. Leave them to visible pages.
    if (document.hidden) return;
    const query = device === null ? "" : `?device=${encodeURIComponent(device)}`;
    source = new EventSource(`/console/api/events${query}`);
    source.addEventListener("hello", (event) => {
      setClock(JSON.parse(event.data).now);
      showLive();
      heard("everything", {});
    });
    source.addEventListener("lagged", () => heard("everything", {}));
    for (const [what, kinds] of Object.entries(READ_AGAIN))
      for (const kind of kinds)
        source.addEventListener(kind, () => document.dispatchEvent(new Event(what)));
    for (const kind of KINDS)
      source.addEventListener(kind, (event) => heard(kind, JSON.parse(event.data)));
    for (const kind of ALL) source.addEventListener(kind, alive);
    source.addEventListener("error", lost);
    alive();
  };
  const close = () => {
    clearTimeout(timer);
    clearTimeout(watch);
    source?.close();
    source = null;
  };

  document.addEventListener("visibilitychange", open);
  open();
  return () => {
    document.removeEventListener("visibilitychange", open);
    close();
  };
}

let goneTimer = null;

function showLive() {
  clearTimeout(goneTimer);
  goneTimer = null;
  const live = document.getElementById("live");
  live.dataset.state = document.body.dataset.live = "live";
  setText(live, "Live");
  document.getElementById("gone").hidden = true;
}

function showGone() {
  goneTimer ??= setTimeout(() => {
    const live = document.getElementById("live");
    live.dataset.state = document.body.dataset.live = "gone"; // Its colours go: see console.css.
    setText(live, "Not live");
    const gone = document.getElementById("gone");
    gone.hidden = false;
    setText(gone, "No live data from central. What is shown may be out of date. Reconnecting…");
  }, GRACE);
}

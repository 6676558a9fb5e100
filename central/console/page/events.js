// Central's live events, and whether central responds.

import { readSession } from "./access.js";
import { setText } from "./dom.js";
import { setClock } from "./format.js";

const KINDS = ["device", "connection", "telemetry", "twin", "command"];
// After these, the page reads the faults or the alerts again.
const READ_AGAIN = { faults: ["hello", "faults"], alerts: ["hello", "alerts"] };
const RETRY = 2000; // Milliseconds.
const GRACE = 1500; // Milliseconds without central before the page reports it.

// Calls `heard(kind, data)` for each event, and with "everything" if events may have been missed: at
// the start, after central did not respond, and after the page was hidden.
export function listen(device, heard) {
  let source = null;
  let timer = null;

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
    source.addEventListener("error", () => {
      showGone();
      close();
      readSession().catch(() => null); // Perhaps the sign-in has expired.
      timer = setTimeout(open, RETRY);
    });
  };
  const close = () => {
    clearTimeout(timer);
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
  live.dataset.state = "live";
  setText(live, "Live");
  document.getElementById("gone").hidden = true;
}

function showGone() {
  goneTimer ??= setTimeout(() => {
    const live = document.getElementById("live");
    live.dataset.state = "gone";
    setText(live, "Not live");
    const gone = document.getElementById("gone");
    gone.hidden = false;
    setText(gone, "Central does not respond. The data shown may be out of date. Reconnecting…");
  }, GRACE);
}

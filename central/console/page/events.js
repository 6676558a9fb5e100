// What happens at central, as it happens; and whether central is there at all.

import { setText } from "./dom.js";
import { setClock } from "./format.js";

const KINDS = ["device", "connection", "telemetry", "twin", "command"];
const OF_CENTRAL = ["hello", "faults"]; // What concerns the whole page: told as events of it.
const TRY_AGAIN = 2000; // Milliseconds.
const GRACE = 1500; // Milliseconds without central before the page says so.

// `heard(kind, data)` is called for each event, and with "everything" whenever something may have
// been missed: at the start, after central was gone, after this page was hidden.
export function listen(device, heard) {
  let source = null;
  let timer = null;

  const open = () => {
    close();
    // A browser keeps few connections to one server: leave them to pages that are seen.
    if (document.hidden) return;
    const query = device === null ? "" : `?device=${encodeURIComponent(device)}`;
    source = new EventSource(`/console/api/events${query}`);
    source.addEventListener("hello", (event) => {
      setClock(JSON.parse(event.data).now);
      showLive();
      heard("everything", {});
    });
    source.addEventListener("lagged", () => heard("everything", {}));
    for (const kind of OF_CENTRAL)
      source.addEventListener(kind, () => document.dispatchEvent(new Event("faults")));
    for (const kind of KINDS)
      source.addEventListener(kind, (event) => heard(kind, JSON.parse(event.data)));
    source.addEventListener("error", () => {
      showGone();
      close();
      timer = setTimeout(open, TRY_AGAIN);
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

let sayGone = null;

function showLive() {
  clearTimeout(sayGone);
  sayGone = null;
  const live = document.getElementById("live");
  live.dataset.state = "live";
  setText(live, "Live");
  document.getElementById("gone").hidden = true;
}

function showGone() {
  sayGone ??= setTimeout(() => {
    const live = document.getElementById("live");
    live.dataset.state = "gone";
    setText(live, "Not live");
    const gone = document.getElementById("gone");
    gone.hidden = false;
    setText(gone, "Central does not answer. What you see may be old. Trying again…");
  }, GRACE);
}

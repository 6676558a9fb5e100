// The tab's title: how many alerts nobody has acknowledged, and what is shown.

import { get } from "./api.js";

const HIDDEN = 30_000; // Milliseconds between two looks while the tab is hidden: it has no events.

let shown = "Central";
let unread = 0;

export function setTitle(text) {
  shown = `${text} · Central`;
  write();
}

function write() {
  document.title = unread ? `(${unread}) ${shown}` : shown;
}

// Keeps the number in the title and beside the link to the alerts.
export function watchUnread(badge) {
  const read = async () => {
    try {
      unread = (await get("/console/api/alerts/count")).unacknowledged;
    } catch {
      return; // Central does not respond. The top of the page says so.
    }
    badge.textContent = unread || "";
    badge.title = `${unread} to acknowledge`;
    badge.hidden = !unread;
    write();
  };
  document.addEventListener("alerts", read);
  setInterval(() => document.hidden && read(), HIDDEN);
}

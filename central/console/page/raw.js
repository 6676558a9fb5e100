// Messages as they came, newest first. What the model does not know is shown, never dropped.

import { get, pagePath } from "./api.js";
import { h } from "./dom.js";
import { duration, plain, timeText, valueText } from "./format.js";
import { readMessage } from "./model.js";

const MOST_ROWS = 500;
const OLDER = 100;
const LATE = 5000; // Milliseconds.
const TOLD_OTHERWISE = new Set(["content_type", "content_encoding", "iothub-creation-time-utc"]);

export function rawTab(store) {
  const head = h("tr");
  const body = h("tbody");
  const none = h("p", { class: "muted" }, "No message has arrived yet.");
  const older = h("button", { type: "button" }, "Older messages");
  const pause = h("button", { type: "button", "aria-pressed": "false" }, "Pause");
  const table = h("table", { class: "wide" }, h("thead", {}, head), body);
  let columns = [];
  let oldest = null;

  const showAll = () => {
    columns = store.model?.telemetry ?? [];
    const titles = [
      "Received",
      "Taken",
      ...columns.map((each) => each.label),
      "Unmodelled data",
      "Message",
    ];
    head.replaceChildren(...titles.map((text) => h("th", { scope: "col" }, text)));
    body.replaceChildren(...store.messages.map((message) => row(message, store.model, columns)));
    oldest = store.messages.length >= OLDER ? store.messages.at(-1).number : null;
    note();
  };
  const note = () => {
    none.hidden = body.children.length > 0;
    table.hidden = !body.children.length;
    older.hidden = oldest === null || body.children.length >= MOST_ROWS;
  };
  const paused = () => pause.getAttribute("aria-pressed") === "true";

  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!paused()));
    if (!paused()) showAll();
  });
  older.addEventListener("click", async () => {
    const { value } = await get(
      `${pagePath(store.id, "messages")}?limit=${OLDER}&before=${oldest}`,
    );
    body.append(...value.map((message) => row(message, store.model, columns)));
    oldest = value.length === OLDER ? value.at(-1).number : null;
    note();
  });
  store.on("messages", () => paused() || showAll());
  store.on("device", () => columns !== (store.model?.telemetry ?? columns) && showAll());
  store.on("message", (message) => {
    if (paused()) return;
    body.prepend(row(message, store.model, columns));
    while (body.children.length > MOST_ROWS) body.lastChild.remove();
    note();
  });
  showAll();
  const scroll = h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Messages" },
    table,
  );
  return h(
    "section",
    { class: "card" },
    h("div", { class: "card-head" }, h("h2", {}, "Messages, newest first"), pause),
    none,
    scroll,
    h("div", { class: "actions" }, older),
  );
}

function row(message, model, columns) {
  const { known, rest, text } = readMessage(message, model);
  const component = message.system.component ?? null;
  const value = (column) =>
    column.component === component && known.has(column.name)
      ? valueText(known.get(column.name), column)
      : "";
  return h(
    "tr",
    {},
    h("td", { class: "nowrap" }, timeText(message.received)),
    h("td", { class: "nowrap" }, taken(message)),
    columns.map((column) => h("td", { class: "nowrap number" }, value(column))),
    h("td", { class: "long" }, text ?? (rest ? plain(rest) : "")),
    h("td", { class: "long small" }, about(message)),
  );
}

function taken(message) {
  if (!message.created) return "—";
  const late = Date.parse(message.received) - Date.parse(message.created);
  const parts = [timeText(message.created)];
  if (late > LATE)
    parts.push(" ", h("span", { class: "badge", "data-kind": "busy" }, `${duration(late)} late`));
  return parts;
}

function about(message) {
  const all = [...Object.entries(message.system), ...Object.entries(message.properties)];
  return all
    .filter(([name]) => !TOLD_OTHERWISE.has(name))
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`)
    .join(" · ");
}

// Messages as received, newest first. Data that the model does not have is shown, too.

import { get, pagePath } from "./api.js";
import { button, h, newId, row, setText, table } from "./dom.js";
import { localTime } from "./fields.js";
import { duration, now, plain, timeText, valueText } from "./format.js";
import { LATE, newerThan, readMessage } from "./messages.js";
import { localTimes } from "./range.js";

const MOST_ROWS = 500;
const PAGE = 50;
const IN_COLUMNS = new Set(["content_type", "content_encoding", "iothub-creation-time-utc"]);
const SPANS = [
  ["", "All time"],
  ["3600", "Last hour"],
  ["86400", "Last day"],
  ["604800", "Last week"],
  ["custom", "Custom"],
];

// Columns beside those of the model.
const RECEIVED = {
  key: "received",
  label: "Received",
  cell: (message) => timeText(message.received),
};
const TAKEN = { key: "taken", label: "Taken", cell: taken };
const LATENESS = { key: "late", label: "Late by", cell: lateness, number: true };
const UNMODELED = {
  key: "unmodeled",
  label: "Unmodeled data",
  cell: (message, { rest, text }) => bodyText(message, text ?? (rest ? plain(rest) : "")),
  long: true,
};
const ABOUT = { key: "about", label: "Message", cell: about, long: true, small: true };

export const rawTab = (store) => new RawTab(store).element;

class RawTab {
  constructor(store) {
    this.store = store;
    this.hidden = readHidden(store.device?.template);
    this.body = h("tbody");
    this.none = h("p", { class: "muted" });
    this.older = button("Older messages", () => this.fetchOlder());
    this.pause = button("Pause", () => this.togglePause(), { "aria-pressed": "false" });
    this.chooser = h("div", { class: "choices" });
    this.files = h("div", { class: "actions" });
    this.table = table("Messages", [], this.body);
    this.head = this.table.querySelector("tr");
    this.element = this.makeElement();
    this.rows = [];
    this.wanted = 0; // Rows, including older ones that were requested.
    this.added = null; // Messages that arrive during a request, newest first.
    store.on("device", () => this.build());
    store.on(
      "messages",
      () => this.paused() || this.fetch(Math.max(this.rows.length, this.wanted)),
    );
    store.on("message", (message) => this.add(message));
    this.build();
    this.fetch();
  }

  makeElement() {
    const id = newId("span");
    this.span = h(
      "select",
      { id, onchange: () => this.choose() },
      SPANS.map(([value, label]) => h("option", { value }, label)),
    );
    this.from = dateField("From", () => this.fetch());
    this.to = dateField("To", () => this.fetch());
    return h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "card-head" },
        h("h2", {}, "Messages, newest first"),
        h("div", { class: "actions tight" }, this.pause),
      ),
      h(
        "div",
        { class: "toolbar" },
        h("span", { class: "pair" }, h("label", { for: id }, "Received in"), this.span),
        this.from.element,
        this.to.element,
        h("details", { class: "menu" }, h("summary", { class: "button" }, "Columns"), this.chooser),
        h(
          "details",
          { class: "menu" },
          // The last hour has moved on. The toggle event would come after the menu is open.
          h("summary", { class: "button", onclick: () => this.showFiles() }, "Export"),
          h("div", { class: "choices" }, this.files),
        ),
      ),
      this.none,
      this.table,
      h("div", { class: "actions" }, this.older),
    );
  }

  togglePause() {
    this.pause.setAttribute("aria-pressed", String(!this.paused()));
    if (!this.paused()) this.fetch();
  }

  paused() {
    return this.pause.getAttribute("aria-pressed") === "true";
  }

  choose() {
    const chosen = this.span.value === "custom";
    this.from.element.hidden = this.to.element.hidden = !chosen;
    if (chosen && !this.from.input.value) {
      this.from.input.value = localTime(now() - 3_600_000);
      this.to.input.value = localTime(now());
    }
    this.fetch();
  }

  // The chosen time as a query.
  range() {
    const query = new URLSearchParams();
    if (this.span.value === "custom") {
      // Of a time that clocks show twice, all between is in the range.
      const since = localTimes(this.from.input.value).times[0];
      const until = localTimes(this.to.input.value).times.at(-1);
      if (since >= 0) query.set("since", String(since));
      if (until >= 0) query.set("until", String(until));
    } else if (this.span.value) {
      query.set("since", String(Math.max(0, now() / 1000 - Number(this.span.value))));
    }
    return query;
  }

  columns() {
    const modelled = (this.store.model?.telemetry ?? []).map((element) => ({
      key: element.key,
      label: element.title,
      element,
      number: true,
      cell: (_, { values }) =>
        values.has(element.key) ? valueText(values.get(element.key), element) : "",
    }));
    return [RECEIVED, TAKEN, LATENESS, ...modelled, UNMODELED, ABOUT];
  }

  shown() {
    return this.columns().filter((column) => !this.hidden.has(column.key));
  }

  // Creates what depends on the model and on the chosen columns.
  build() {
    const columns = this.columns();
    const shape = JSON.stringify([columns.map((each) => [each.key, each.label]), [...this.hidden]]);
    if (shape === this.shape) return;
    this.shape = shape;
    if (!this.chooser.contains(document.activeElement))
      this.chooser.replaceChildren(...columns.map((column) => this.choice(column)));
    this.head.replaceChildren(
      ...this.shown().map((column) => h("th", { scope: "col" }, column.label)),
    );
    this.showFiles();
    this.redraw();
  }

  choice(column) {
    const input = h("input", { type: "checkbox", checked: !this.hidden.has(column.key) });
    input.addEventListener("change", () => {
      if (input.checked) this.hidden.delete(column.key);
      else this.hidden.add(column.key);
      keepHidden(this.store.device?.template, this.hidden);
      this.build();
    });
    return h("label", {}, input, " ", column.label);
  }

  showFiles() {
    const link = (format, words) => {
      const query = this.range();
      query.set("format", format);
      if (format === "csv") {
        for (const column of this.shown()) if (column.element) query.append("column", column.key);
      }
      const href = `${pagePath(this.store.id, "export")}?${query}`;
      return h("a", { class: "button", href, download: "" }, words);
    };
    this.files.replaceChildren(link("csv", "CSV"), link("jsonl", "JSON lines"));
  }

  // Requests the newest messages: as many as are shown, and one more to know whether there are older
  // ones.
  async fetch(shown = 0) {
    const query = this.range();
    const limit = Math.min(Math.max(PAGE, shown + 1), MOST_ROWS);
    query.set("limit", String(limit));
    this.showFiles();
    const answer = await this.ask(query);
    if (!answer) return;
    const { found, added } = answer;
    this.more = found.length === limit;
    found.length = Math.min(found.length, Math.max(PAGE, shown));
    this.rows = [...newerThan(added, found), ...found];
    this.redraw();
  }

  // Returns the messages that central found, and those that arrived meanwhile. Returns null if central
  // does not respond, or after a newer request.
  async ask(query) {
    const turn = (this.turn = {});
    this.added = [];
    try {
      const { value } = await get(`${pagePath(this.store.id, "messages")}?${query}`);
      if (this.turn !== turn) return null;
      const { added } = this;
      this.added = null;
      this.wanted = 0;
      return { found: value, added };
    } catch (error) {
      if (this.turn === turn) {
        this.none.hidden = false;
        setText(this.none, error.message);
      }
      return null;
    }
  }

  async fetchOlder() {
    const query = this.range();
    query.set("limit", String(PAGE));
    query.set("before", String(this.rows.at(-1).number));
    this.wanted = this.rows.length + PAGE; // In case of another request meanwhile.
    const answer = await this.ask(query);
    if (!answer) return;
    this.rows.push(...answer.found);
    this.more = answer.found.length === PAGE;
    this.redraw();
  }

  add(message) {
    if (this.paused() || (this.span.value === "custom" && this.to.input.value)) return;
    if (this.rows[0]?.number >= message.number) return;
    this.rows.unshift(message);
    this.added?.unshift(message);
    this.body.prepend(this.row(message));
    if (this.rows.length > MOST_ROWS) {
      this.rows.length = MOST_ROWS;
      this.more = true;
      while (this.body.children.length > MOST_ROWS) this.body.lastChild.remove();
    }
    this.note();
  }

  redraw() {
    if (!this.rows) return;
    this.body.replaceChildren(...this.rows.map((message) => this.row(message)));
    this.note();
  }

  note() {
    const none = this.rows.length === 0;
    const words = this.span.value ? "No messages in this period." : "No messages yet.";
    this.none.hidden = !none;
    setText(this.none, words);
    this.table.hidden = none;
    this.older.hidden = !this.more || this.rows.length >= MOST_ROWS;
  }

  row(message) {
    const read = readMessage(message, this.store.model);
    const shown = this.shown();
    const kinds = (column) => [
      column.long ? "long" : "nowrap",
      column.small && "small",
      column.number && "number",
    ];
    return row(
      shown.map((column) => column.label),
      shown.map((column) => [kinds(column).filter(Boolean).join(" "), column.cell(message, read)]),
    );
  }
}

function dateField(label, changed) {
  const id = newId("date");
  const input = h("input", { id, type: "datetime-local", step: "1", onchange: changed });
  const element = h("span", { class: "pair", hidden: true }, h("label", { for: id }, label), input);
  return { input, element };
}

// The hidden columns of each template, kept in this browser.
const storeKey = (template) => `columns hidden for ${template ?? "no template"}`;

function readHidden(template) {
  try {
    return new Set(JSON.parse(localStorage.getItem(storeKey(template)) ?? "[]"));
  } catch {
    return new Set();
  }
}

function keepHidden(template, hidden) {
  try {
    localStorage.setItem(storeKey(template), JSON.stringify([...hidden]));
  } catch {
    // The browser stores nothing. The choice lasts until the page is closed.
  }
}

function taken(message) {
  return message.created ? timeText(message.created) : "—";
}

function lateness(message) {
  if (!message.created) return "";
  const late = Date.parse(message.received) - Date.parse(message.created);
  if (late < 0) return `${duration(-late)} early`;
  return late > LATE
    ? h("span", { class: "badge", "data-kind": "busy" }, duration(late))
    : duration(late);
}

function bodyText(message, text) {
  return message.length ? `${text}… (${message.length} bytes; export to see all)` : text;
}

function about(message) {
  const all = [...Object.entries(message.system), ...Object.entries(message.properties)];
  return all
    .filter(([name]) => !IN_COLUMNS.has(name))
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`)
    .join(" · ");
}

// The commands of a device's model, to run or to queue, and their history.

import { devicePath, call, pagePath } from "./api.js";
import { card, h, resultLine, row, setText, table } from "./dom.js";
import { field } from "./fields.js";
import { duration, now, timeText, valueText } from "./format.js";
import { missing } from "./store.js";

// A command with its field, its button and the response to its last run.
export function commandForm(store, command, { brief = false } = {}) {
  const request = command.request ? field(command.request, { required: true }) : null;
  const button = h("button", { type: "submit", class: brief ? "" : "primary" }, "Run");
  const result = resultLine();
  const { title } = command;
  let last = null; // The id of the last one that was run or queued here.
  const form = h(
    "form",
    { class: brief ? "command brief" : "command", novalidate: true },
    h(
      "div",
      { class: "command-head" },
      h("h3", {}, title),
      brief ? null : h("p", { class: "muted" }, command.description),
    ),
    request
      ? h(
          "div",
          { class: "command-field" },
          request.label,
          request.control,
          request.hint,
        )
      : null,
    button,
    result.element,
  );
  button.setAttribute("aria-label", `Run ${title}`);

  const update = () => {
    const known = store.commands.find((each) => each.id === last);
    const later = known && laterText(known);
    if (later) result.show(...later);
    const offline = store.device && !store.device.connected;
    if (button.disabled) return;
    setText(button, offline ? "Queue" : "Run");
    button.title = offline
      ? "The device is offline. The command is kept for it for up to 24 hours."
      : "";
    button.setAttribute("aria-label", `${offline ? "Queue" : "Run"} ${title}`);
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let value;
    try {
      value = request?.read();
      if (request && value === undefined) throw new Error(`${command.request.label} is required.`);
    } catch (error) {
      result.show("bad", error.message);
      request.input.focus();
      return;
    }
    button.disabled = true;
    last = null;
    result.show("busy", "Waiting for the device…");
    try {
      const { id, outcome } = await run(store, command, request ? { request: value } : {});
      last = id;
      result.show(...outcome);
    } catch (error) {
      result.show("bad", error.message);
    }
    button.disabled = false;
    update();
  });
  update();
  return { element: form, update };
}

// Sends or queues a command. Returns its `id`, and the `outcome` as [kind, words].
async function run(store, command, body) {
  const place = command.component ? ["components", command.component] : [];
  if (!store.device.connected) {
    const { id } = await call("POST", pagePath(store.id, ...place, "queue", command.name), body);
    return { id, outcome: ["busy", "Queued. It runs if the device connects within 24 hours."] };
  }
  const started = performance.now();
  const answer = await call("POST", devicePath(store.id, ...place, "commands", command.name), body);
  const took = duration(performance.now() - started);
  const good = answer.responseCode < 300;
  const words = responseText(answer.response, command.response);
  const done = good ? "Done" : `Refused (${answer.responseCode})`;
  const outcome =
    answer.responseCode === 202
      ? ["busy", `Started in ${took}${words ? `: ${words}` : ""}. The result follows.`]
      : [good ? "fine" : "bad", `${done} in ${took}${words ? `: ${words}` : "."}`];
  return { id: answer.id, outcome };
}

// What became of a command after its first answer, as [kind, words], or null.
function laterText(command) {
  const [kind, words] = statusOf(command);
  if (command.queued) {
    if (words === "Queued") return null;
    return [kind, words === "Delivered" ? "Delivered to the device." : "It expired in the queue."];
  }
  if (!command.completed) return null;
  const text = responseText(command.completion);
  const [first] = String(text).split("\n");
  return [kind, `Completed at ${timeText(command.completed)}: ${first}`];
}

// A response that is an object with one text is shown as that text.
function responseText(response, element) {
  if (response === undefined || response === null) return "";
  if (typeof response === "object" && !Array.isArray(response)) {
    const values = Object.values(response);
    if (!values.length) return "";
    if (values.length === 1 && typeof values[0] === "string") return values[0];
  }
  return valueText(response, element);
}

const HEADINGS = ["Time", "Command", "Request", "Status", "Response", "Took"];

export function commandsTab(store) {
  const forms = h("div", { class: "cards", "data-needs": "operate" });
  const body = h("tbody");
  const none = h("p", { class: "muted" }, "No command has been run yet.");
  const history = table("Command history", HEADINGS, body);
  let made = [];

  const makeForms = () => {
    const commands = store.model?.commands ?? [];
    made = commands.map((command) => commandForm(store, command));
    forms.replaceChildren(...made.map((form) => h("div", { class: "card" }, form.element)));
    if (!made.length) forms.replaceChildren(h("p", { class: "muted" }, missing(store, "commands")));
  };
  const showHistory = () => {
    none.hidden = store.commands.length > 0;
    history.hidden = !store.commands.length;
    body.replaceChildren(...store.commands.map((command) => historyRow(command, store.model)));
  };

  let model = store.model;
  makeForms();
  showHistory();
  store.on("device", () => {
    if (model !== store.model) makeForms();
    model = store.model;
    made.forEach((form) => form.update());
    showHistory();
  });
  store.on("commands", () => {
    made.forEach((form) => form.update());
    showHistory();
  });
  return h(
    "div",
    {},
    h("h2", { class: "unseen" }, "Run a command"),
    forms,
    card("History", none, history),
  );
}

// The completions that are shown whole. Rows are made again with each change.
const opened = new Set();

// What a command reported later. Of several lines, as of the diagnostics, the first one is shown.
function completion(command) {
  const when = h("span", { class: "muted" }, `${timeText(command.completed)}: `);
  const text = responseText(command.completion);
  const [first, ...more] = typeof text === "string" ? text.split("\n") : [text];
  if (!more.length) return h("div", { class: "completion" }, when, first);
  const remember = (event) => {
    if (event.target.open) opened.add(command.id);
    else opened.delete(command.id);
  };
  return h(
    "details",
    { class: "completion", open: opened.has(command.id), ontoggle: remember },
    h("summary", {}, when, first),
    h("p", {}, more.join("\n")),
  );
}

function historyRow(command, model) {
  const known = model?.commands.find((each) => each.key === command.name);
  const label = known?.title ?? command.name;
  const took = command.answered
    ? duration(Date.parse(command.answered) - Date.parse(command.asked))
    : "—";
  const [kind, words] = statusOf(command);
  const answer = [responseText(command.response, known?.response)];
  if (command.completion !== null && command.completion !== undefined) {
    answer.push(completion(command));
  }
  return row(HEADINGS, [
    ["nowrap", timeText(command.asked)],
    ["", label],
    ["long", valueText(command.request, known?.request)],
    ["nowrap", h("span", { class: "badge", "data-kind": kind }, words)],
    ["long", answer],
    ["nowrap", took],
  ]);
}

function statusOf(command) {
  if (command.queued) {
    if (command.answered) return ["fine", "Delivered"];
    return Date.parse(command.expires) > now() ? ["busy", "Queued"] : ["bad", "Expired"];
  }
  const code = command.responseCode;
  if (code === undefined) return ["busy", "Waiting"];
  if (!command.answered) return ["bad", code === 404 ? "Offline" : "No answer"];
  if (code === 202) return command.completed ? ["fine", "Completed"] : ["busy", "202 Started"];
  return code < 300 ? ["fine", `${code} Done`] : ["bad", `${code} Refused`];
}

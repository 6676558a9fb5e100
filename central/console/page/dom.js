// Making elements. Text becomes text nodes, so that nothing from a device is parsed as HTML.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function button(label, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, label);
}

// A section of a page with a heading.
export function card(title, ...children) {
  return h("section", { class: "card" }, h("h2", {}, title), ...children);
}

// Changes text only if it differs, to keep selections and to leave screen readers alone.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

let lastId = 0;
export function newId(word) {
  lastId += 1;
  return `${word}-${lastId}`;
}

// A line below a form for the outcome: `show(kind, text)` with "fine", "busy" or "bad".
export function resultLine() {
  const element = h("output", { class: "result" });
  return {
    element,
    show(kind, text) {
      element.dataset.kind = kind;
      setText(element, text);
    },
  };
}

// Radio buttons side by side for `choices`, which are pairs of value and label. `choose(value)`
// checks the one with this value, if there is one.
export function segments(legend, choices, changed) {
  const name = newId("segments");
  const inputs = new Map(
    choices.map(([value]) => {
      const input = h("input", { type: "radio", name, onchange: () => changed(value) });
      return [value, input];
    }),
  );
  const element = h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: "unseen" }, legend),
    choices.map(([value, label]) => h("label", {}, inputs.get(value), h("span", {}, label))),
  );
  const choose = (value) => inputs.forEach((input, each) => (input.checked = each === value));
  return { element, choose };
}

// A table in a region that scrolls sideways. On a phone, each row is a card (see `row` and CSS), and
// the roles remain those of a table.
export function table(name, headings, body) {
  const head = headings.map((text) => h("th", { scope: "col" }, text));
  body.setAttribute("role", "rowgroup");
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
    h("table", { class: "wide", role: "table" }, h("thead", {}, h("tr", {}, head)), body),
  );
}

// A row of a table. `cells` are pairs of a class and the content.
export function row(headings, cells) {
  return h(
    "tr",
    { role: "row" },
    cells.map(([kind, content], index) =>
      h("td", { role: "cell", class: kind || null, "data-heading": headings[index] }, content),
    ),
  );
}

// Names and values. A row is [name, value].
export function factList(rows, kind = "facts") {
  const facts = rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  return h("dl", { class: kind }, facts);
}

export function copyButton(read, what, words = "Copy") {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(read());
      element.textContent = "Copied";
      announce(`Copied ${what}.`);
    } catch {
      element.textContent = "Failed";
    }
    setTimeout(() => (element.textContent = words), 2000);
  };
  const element = button(words, copy, { class: "small", "aria-label": `Copy ${what}` });
  return element;
}

// Opens a dialog. `build` gets the function that closes it, and returns the content.
export function openDialog(title, build) {
  const id = newId("dialog");
  const dialog = h("dialog", { "aria-labelledby": id });
  const close = () => dialog.close();
  const cross = button("✕", close, { class: "cross", "aria-label": "Close" });
  dialog.append(h("header", {}, h("h2", { id }, title), cross), build(close));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && close());
  document.body.append(dialog);
  dialog.showModal();
}

// Asks before `act`. If `act` fails, the dialog stays open and shows why.
export function confirmDialog(title, text, verb, act) {
  openDialog(title, (close) => {
    const result = resultLine();
    const confirm = async () => {
      try {
        await act();
        close();
      } catch (error) {
        result.show("bad", error.message);
      }
    };
    const buttons = [button(verb, confirm, { class: "danger" }), button("Cancel", close)];
    return h(
      "div",
      { class: "dialog-body" },
      h("p", {}, text),
      h("div", { class: "actions" }, buttons, result.element),
    );
  });
}

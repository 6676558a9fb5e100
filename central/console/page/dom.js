// Making elements. Text becomes text nodes, so that nothing from a device is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Changes text only if it differs, to keep selections and not to disturb screen readers.
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
// checks one of them.
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
  return { element, choose: (value) => (inputs.get(value).checked = true) };
}

// A table in a region that scrolls sideways.
export function table(name, headings, body) {
  const head = headings.map((text) => h("th", { scope: "col" }, text));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
    h("table", { class: "wide" }, h("thead", {}, h("tr", {}, head)), body),
  );
}

// Names and values. A row is [name, value].
export function factList(rows, kind = "facts") {
  const facts = rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  return h("dl", { class: kind }, facts);
}

export function copyButton(read, what) {
  const button = h("button", { type: "button", class: "small" }, "Copy");
  button.setAttribute("aria-label", `Copy ${what}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(read());
      button.textContent = "Copied";
      announce(`Copied ${what}.`);
    } catch {
      button.textContent = "Failed";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return button;
}

// Opens a dialog. `build` gets the function that closes it, and returns the content.
export function openDialog(title, build) {
  const id = newId("dialog");
  const dialog = h("dialog", { "aria-labelledby": id });
  const close = () => dialog.close();
  const cross = h(
    "button",
    { type: "button", class: "cross", "aria-label": "Close", onclick: close },
    "✕",
  );
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
    const confirm = h("button", { type: "button", class: "danger" }, verb);
    confirm.addEventListener("click", async () => {
      try {
        await act();
        close();
      } catch (error) {
        result.show("bad", error.message);
      }
    });
    const cancel = h("button", { type: "button", onclick: close }, "Cancel");
    return h(
      "div",
      { class: "dialog-body" },
      h("p", {}, text),
      h("div", { class: "actions" }, confirm, cancel, result.element),
    );
  });
}

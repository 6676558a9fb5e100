// A device at a glance: its numbers with charts, its LED, its status and its commands.

import { get, pagePath, soon } from "./api.js";
import { commandForm } from "./commands.js";
import { completenessText } from "./completeness.js";
import { card, factList, h, setText } from "./dom.js";
import { FaultsPanel } from "./faults.js";
import { age, number, ticking, valueText } from "./format.js";
import { COLOURS, History } from "./history.js";
import { Led } from "./led.js";
import { LATE, readMessage } from "./messages.js";
import { RoomPanel } from "./room.js";
import { LED, special } from "./special.js";
import { reportedStatus } from "./states.js";

const COUNT_AGAIN = 1500; // Milliseconds between two counts while messages arrive.

export class Overview {
  constructor(store, query) {
    this.store = store;
    this.tiles = h("div", { class: "tiles" });
    this.history = new History(store, query, (series, added) => this.receive(series, added));
    this.lastWords = new Map(); // Of telemetry without a chart, by key: {timestamp, value}.
    this.statusBox = h("div");
    this.led = new Led();
    this.ledCard = card("LED", this.led.element);
    this.commandBox = h("div");
    this.commandCard = card("Commands", this.commandBox);
    this.commandCard.dataset.needs = "operate";
    this.room = new RoomPanel();
    this.faults = new FaultsPanel();
    this.forms = [];
    this.element = h(
      "div",
      { class: "overview" },
      h(
        "div",
        { class: "overview-main" },
        this.tiles,
        this.history.element,
        this.room.element,
        this.faults.element,
      ),
      h(
        "div",
        { class: "overview-side" },
        this.ledCard,
        card("Status", this.statusBox),
        this.commandCard,
      ),
    );
    this.countSoon = soon(() => this.fetchCount(), COUNT_AGAIN);
    this.build();
    store.on("device", () => this.build());
    store.on("messages", () => {
      this.build();
      this.history.fetchSoon(); // They may have a message whose event arrives later, and is then ignored.
    });
    store.on("properties", () => this.showState());
    store.on("commands", () => {
      this.forms.forEach((form) => form.update());
      this.showState();
    });
    store.on("message", (message) => this.add(message));
    this.openRoom();
  }

  async openRoom() {
    try {
      // A simulated room is for trying things out. Never closed here: by the time
      // central responds, the user may have opened it.
      if (await this.room.open(this.store.id)) this.faults.element.open = true;
    } catch {
      // Central does not respond. The top of the page says so.
    }
  }

  close() {
    this.closed = true;
    this.room.close();
    this.faults.close();
    this.history.close();
  }

  // Shows what the page's address has.
  read(query) {
    this.history.read(query);
  }

  // Creates what depends on the model and on the device's numbers, again only if they changed.
  build() {
    const numbers = this.store.numbers();
    const { model } = this.store;
    const shape = JSON.stringify([numbers, this.store.device?.template, model !== null]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.numbers = numbers.map((element, index) => ({
        element,
        ...makeTile(element, COLOURS[index % COLOURS.length]),
      }));
      this.tiles.replaceChildren(...this.numbers.map((each) => each.tile));
      this.history.build(numbers);
      const commands = (model?.commands ?? []).filter((each) => !special(each).elsewhere);
      this.forms = commands.map((each) => commandForm(this.store, each, { brief: true }));
      this.commandBox.replaceChildren(...this.forms.map((form) => form.element));
      this.commandCard.hidden = !this.forms.length;
      this.history.fetchSoon();
    }
    this.forms.forEach((form) => form.update());
    this.store.messages.forEach((message) => this.takeWords(message));
    this.showState();
  }

  receive(series, added) {
    for (const each of this.numbers) {
      const last = series[each.element.key]?.last;
      if (last) each.show(last);
    }
    for (const element of this.store.words()) this.keepWords(element, series[element.key]?.last);
    added.forEach((message) => this.take(message)); // The response may not have them.
    this.showState();
    this.countSoon();
  }

  async fetchCount() {
    if (this.closed) return;
    let found;
    try {
      found = await get(pagePath(this.store.id, "completeness"));
    } catch {
      return;
    }
    this.history.count.hidden = !found.since;
    this.history.count.replaceChildren(...completenessText(found));
  }

  add(message) {
    this.history.hold(message);
    this.take(message);
    this.showState();
    this.countSoon();
    if (!this.numbers.length) this.build();
  }

  take(message) {
    this.takeWords(message);
    const { values } = readMessage(message, this.store.model);
    const timestamp = message.created ?? message.received;
    const late = Date.parse(message.received) - Date.parse(timestamp) > LATE;
    for (const each of this.numbers) {
      const value = values.get(each.element.key);
      if (typeof value !== "number") continue;
      this.history.add(each.element.key, Date.parse(timestamp) / 1000, value, late);
      each.show({ timestamp, value });
    }
  }

  takeWords(message) {
    const { values } = readMessage(message, this.store.model);
    const timestamp = message.created ?? message.received;
    for (const element of this.store.words()) {
      if (values.has(element.key))
        this.keepWords(element, { timestamp, value: values.get(element.key) });
    }
  }

  keepWords(element, last) {
    const before = this.lastWords.get(element.key);
    if (last && !(before && last.timestamp < before.timestamp))
      // A late value is not current.
      this.lastWords.set(element.key, last);
  }

  showState() {
    const { store } = this;
    const properties = (store.model?.properties ?? []).filter(
      (each) => !each.writable && each.component === null,
    );
    this.ledCard.hidden =
      store.property(LED.state).value === undefined &&
      !properties.some((each) => each.name === LED.state);
    this.led.show(store);
    this.history.showLimits();
    const shown = properties.filter((each) => hasStatus(store, each));
    const lastMessage = ticking(h("span"), () => age(store.device?.lastMessage));
    const old = store.device?.state !== "reporting";
    for (const each of this.numbers) each.showOld(old);
    this.statusBox.replaceChildren(
      factList([
        ...store
          .words()
          .map((each) => [each.title, lastWord(this.lastWords.get(each.key), each, old)]),
        ...shown.map((each) => [each.label, reportedStatus(store, each)]),
        ["Last message", lastMessage],
      ]),
    );
  }
}

// A value that says that there is nothing to report needs no line.
function hasStatus(store, element) {
  const { elsewhere, nothing } = special(element);
  const { value } = store.property(element.name);
  return !elsewhere && (nothing === undefined || (value ?? nothing) !== nothing);
}

// The newest value of telemetry that is not a number.
function lastWord(last, element, old) {
  if (!last) return h("span", { class: "muted" }, "None yet");
  const text = valueText(last.value, element);
  if (!old) return text;
  return [text, " ", ticking(h("small", { class: "muted" }), () => `Last value, ${age(last.timestamp)}`)];
}

function makeTile(element, colour) {
  const value = h("span", { class: "tile-number" }, "—");
  const unit = h("span", { class: "tile-unit" });
  const when = h("p", { class: "muted" });
  const tile = h(
    "section",
    { class: "card tile" },
    h("h2", { class: "series" }, element.title),
    h("p", { class: "tile-value" }, value, unit),
    when,
  );
  tile.style.setProperty("--series", `var(${colour})`);
  let newest = null;
  let old = false;
  const write = () => {
    if (newest === null) return "No reading yet";
    return old ? `Last reading ${age(newest)}` : age(newest);
  };
  ticking(when, write);
  return {
    tile,
    // A reading of a device that sends no more is not the present one.
    showOld(isOld) {
      old = isOld && newest !== null;
      tile.toggleAttribute("data-old", old);
      when.tick();
    },
    show(last) {
      if (newest !== null && last.timestamp < newest) return; // A late reading is not current.
      newest = last.timestamp;
      setText(value, number(last.value, element.schema.kind));
      setText(unit, element.unit);
      when.tick();
    },
  };
}

// What is shown, by the page's address: #/ devices, #/devices/ID/TAB one device, #/templates the
// templates, #/alerts the alerts, #/rules the rules. After a question mark it says more: which
// devices (see devices.js), or what the charts show (see range.js).

import { showAccess } from "./access.js";
import { DevicePage } from "./device.js";
import { DevicesPage } from "./devices.js";
import { faultsBanner } from "./faults.js";
import { loaded, notLoaded } from "./on-demand.js";
import { watchUnread } from "./title.js";

// The pages besides those of the devices, which are loaded when they are first opened, each with the
// link that stands for it.
const PAGES = {
  templates: [() => import("./templates.js").then((found) => found.TemplatesPage), "#/templates"],
  alerts: [() => import("./alerts.js").then((found) => found.AlertsPage), "#/alerts"],
  rules: [() => import("./rules.js").then((found) => found.RulesPage), "#/alerts"],
};

const main = document.getElementById("main");
let page = null;

async function go() {
  const [place, id] = here().parts;
  const [load, link] = PAGES[place] ?? [() => DevicesPage, "#/"];
  mark(link);
  if (place === "devices" && id) {
    if (page?.id !== id) {
      show(new DevicePage(id));
      const opened = page;
      await opened.open();
      if (page !== opened) return;
    }
    const { parts, query } = here();
    page.show(parts[2] ?? "", query);
  } else {
    const Page = await loaded(load).catch((error) => error);
    const { parts, query } = here();
    if (parts[0] !== place) return; // Another page was opened meanwhile.
    if (Page instanceof Error) show({ element: notLoaded(Page, go), open() {}, close() {} });
    else show(new Page(query));
    await page.open();
  }
}

function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").map(decode), query };
}

// Marks the current page in the bar at the top.
function mark(here) {
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function show(next) {
  page?.close();
  main.replaceChildren(next.element);
  document.querySelector("dialog")?.close();
  if (page) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true }); // A screen reader continues with the new content.
  }
  page = next;
}

function closeMenus(which) {
  for (const menu of [...document.querySelectorAll("details.menu[open]")].filter(which)) {
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // The hash names a page, not a place on it.
  main.focus();
});
// Menus close with Escape, and with a click on anything else.
addEventListener("click", (event) => closeMenus((menu) => !event.composedPath().includes(menu)));
addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(() => true));
main.before(faultsBanner());
addEventListener("hashchange", go);
watchUnread(document.getElementById("unread"));
await showAccess(document.querySelector(".bar"));
go();

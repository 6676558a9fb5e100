// Zooming and panning a chart with fingers, with the mouse wheel, with Shift and the mouse, and with
// keys. uPlot itself zooms by dragging the mouse.

const STEP = 0.2; // Of the time shown, that an arrow key moves it.
const NOTCH = 0.002; // How much a wheel zooms, for each pixel that it would scroll.

export const KEYS = {
  ArrowLeft: (view) => view.pan(-STEP),
  ArrowRight: (view) => view.pan(STEP),
  "+": (view) => view.zoom(0.5),
  "=": (view) => view.zoom(0.5), // + without Shift on many keyboards.
  "-": (view) => view.zoom(2),
  End: (view) => view.now(),
  0: (view) => view.reset(),
};

export function listenToKeys(element, view) {
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // The browser's own.
    const act = KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act(view);
  });
}

// `over` covers the chart between its axes. `view` has `bounds()` in seconds, `showBetween(from, to)`,
// `pan(share)`, `zoom(factor, at)` and `reset()`.
export function listenToPointers(over, view) {
  const at = new Map(); // Where each finger is, in pixels.
  let start = null;
  const restart = () => {
    start = at.size ? { places: new Map(at), bounds: view.bounds() } : null;
  };
  over.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && !(event.shiftKey && event.button === 0)) return;
    if (at.size === 2) return;
    over.setPointerCapture(event.pointerId);
    at.set(event.pointerId, event.clientX);
    restart();
  });
  over.addEventListener("pointermove", (event) => {
    if (!at.has(event.pointerId)) return;
    at.set(event.pointerId, event.clientX);
    const box = over.getBoundingClientRect();
    const places = [...at.keys()].map((id) => [start.places.get(id), at.get(id)]);
    view.showBetween(...dragged(start.bounds, places, box.left, box.width));
  });
  for (const kind of ["pointerup", "pointercancel"])
    over.addEventListener(kind, (event) => at.delete(event.pointerId) && restart());
  over.addEventListener("wheel", (event) => turn(event, over, view), { passive: false });
}

// The new bounds after one or two fingers moved from a place to another: what was under each finger
// still is.
export function dragged([from, to], places, left, width) {
  const share = (place) => (place - left) / width;
  const middle = (index) => places.reduce((sum, each) => sum + share(each[index]), 0) / places.length;
  const apart = (index) =>
    places.length < 2 ? 1 : Math.max(Math.abs(share(places[0][index]) - share(places[1][index])), 0.02);
  const length = ((to - from) * apart(0)) / apart(1);
  const held = from + (to - from) * middle(0);
  const begin = held - length * middle(1);
  return [begin, begin + length];
}

// A pinch on a touchpad is a wheel with Ctrl. A wheel that turns up or down scrolls the page.
function turn(event, over, view) {
  const box = over.getBoundingClientRect();
  if (event.ctrlKey) view.zoom(Math.exp(event.deltaY * NOTCH), (event.clientX - box.left) / box.width);
  else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.pan(event.deltaX / box.width);
  else return;
  event.preventDefault();
}

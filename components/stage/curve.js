// A curve under the lanes: a number that the runs measure as they go (Measure events with an x), one line a lane, and
// dashed what was expected of it. Drawn up to where the player stands; the axes are those of the whole run.

import { make, words } from "../player/words.js";

// measure -> the measure that says what was expected of it
const CURVES = { evaluations: "expected", price: null };
const HEIGHT = 120;
const LEFT = 34;
const BOTTOM = 18;

/** options: lanes (ids; default all). Returns {draw, set, destroy}. */
export function mount(element, player, { strings = {}, options = {} } = {}) {
  const t = words(strings);
  const caption = make("figcaption", {});
  const svg = make("svg", { role: "img" });
  const root = make("figure", { class: "uf-tally" }, caption, svg);
  element.append(root);
  let pending = 0;
  let last = "";

  const points = (lane, name, upto) => player.events(lane)
    .filter((e) => e.kind === "measure" && e.name === name && e.x != null && e.n <= upto).map((e) => [e.x, e.value]);

  function draw() {
    pending = 0;
    const lanes = (options.lanes ?? player.lanes).map((id) => ({ id, at: player.state(id).n }));
    const name = Object.keys(CURVES).find((key) => lanes.some(({ id }) => points(id, key, Infinity).filter((p) => p[1] > 0).length > 1));
    root.hidden = !name;
    const key = JSON.stringify([name, lanes, element.clientWidth, player.version, player.length]);
    if (!name || key === last) return;
    last = key;
    const whole = lanes.flatMap(({ id }) => points(id, name, Infinity));
    const box = { width: element.clientWidth, x: Math.max(...whole.map((p) => p[0])), y: Math.max(...whole.map((p) => p[1]), 1e-9) };
    const expected = CURVES[name] && lanes.map(({ id }) => points(id, CURVES[name], Infinity)).find((own) => own.length);
    const lines = lanes.map(({ id, at }, i) => ({ id, kind: String(i), own: points(id, name, at) })).filter(({ own }) => own.length);
    const swatch = (kind, text) => make("span", {}, make("i", { "data-kind": kind }), text);
    caption.replaceChildren(t(`curve.${name}`), ...lines.map(({ id, own, kind }) => swatch(kind, `${player.title(id)}: ${short(own.at(-1)[1])}`)),
      ...(expected?.length ? [swatch("expected", t(`curve.${CURVES[name]}`))] : []));
    svg.setAttribute("viewBox", `0 0 ${box.width} ${HEIGHT}`);
    svg.setAttribute("aria-label", [t(`curve.${name}`), ...lines.map(({ id, own }) => `${player.title(id)}: ${short(own.at(-1)[1])}`)].join(". "));
    const floor = HEIGHT - BOTTOM;
    svg.replaceChildren(
      make("path", { "data-kind": "axis", d: `M${LEFT} 4V${floor}H${box.width - 4}` }),
      make("text", { "data-kind": "axis", x: LEFT - 6, y: 12, "text-anchor": "end" }, short(box.y)),
      make("text", { "data-kind": "axis", x: box.width - 4, y: HEIGHT - 4, "text-anchor": "end" }, t(`curve.${name}.x`, { n: short(box.x) })),
      ...(expected?.length ? [make("path", { "data-kind": "expected", d: trace(expected, box) })] : []),
      ...lines.map(({ own, kind }) => make("path", { "data-kind": kind, d: trace(own, box) })));
  }

  const later = () => { pending ||= requestAnimationFrame(draw); };
  const off = player.on("change", later);
  const resize = new ResizeObserver(later);
  resize.observe(element);
  draw();
  return {
    draw,
    set: () => {},
    destroy() {
      off();
      resize.disconnect();
      cancelAnimationFrame(pending);
      root.remove();
    },
  };
}

function place([x, y], box) {
  return [LEFT + (x / box.x) * (box.width - LEFT - 8), HEIGHT - BOTTOM - (y / box.y) * (HEIGHT - BOTTOM - 8)];
}

function trace(points, box) {
  return points.map((p, i) => `${i ? "L" : "M"}${place(p, box).map((v) => v.toFixed(1)).join(" ")}`).join("");
}

function short(value) {
  return Number(value.toPrecision(3)).toString();
}

// The stage for series in time: per lane the curves, and beside them the unit circle with the eigenvalues of the matrix
// that moves the latents, and the walk of one latent coordinate in it.
//
// For A v = λ v a latent z gives the complex number y = z · v, and one step multiplies it by λ: so the walk of y can be
// drawn on the very plane in which λ lies.

import { make } from "../player/words.js";
import { Head, write } from "./head.js";
import { laneStage } from "./lanes.js";
import { callsOf } from "./picture.js";
import { orderColour } from "./thread.js";

const TURNS = 0.02; // an eigenvalue this far off the real axis (radians) turns
const MATTERS = 0.3; // below this modulus a coordinate is gone within a few steps
const MANY = 24; // series drawn in full strength
const LOOKS = ["made", "growing", "real", "eigen", "walk"];
const GONE = 0.01; // what is left of it after one trained length
const REAL = 0.5; // where the axis of a band lies
const SHARE = 0.64; // of the height for the first channel; the others share the rest

/**
 * Draw the series lanes of a player. options: lanes (ids; default all series lanes).
 * Returns {draw, set(options), empty(), destroy}: empty() takes all off the curves until a new run begins.
 */
export function mount(element, player, { strings, options = {} } = {}) {
  return laneStage(element, player, {
    kind: "uf-series", strings, settings: { ...options },
    shows: (canvas) => canvas.kind === "series",
    lane: (tools) => new SeriesLane(tools),
  });
}

class SeriesLane {
  constructor({ id, player, t, redraw }) {
    Object.assign(this, { id, player, t, redraw, chosen: null });
    this.renew();
    this.head = new Head(t, player, id);
    this.plot = new Plot(this);
    this.circle = new Circle(this);
    const legend = make("p", { class: "uf-legend" }, ...LOOKS.map((k) => make("span", { "data-look": k }, make("i", {}), t(`series.legend.${k}`))));
    this.root = make("section", { class: "uf-lane", "data-lane": id, "data-kind": "series" }, this.head.root,
      make("div", { class: "uf-series-body" }, make("div", {}, this.plot.root, legend), this.circle.root));
  }

  /** Another run: perhaps more series, or longer ones. */
  renew() {
    const [canvas, output] = this.player.events(this.id)[0].canvases;
    [this.steps] = canvas.shape;
    Object.assign(this, { rows: canvas.rows ?? 1, channels: output.shape[1], names: output.names ?? [], chosen: null });
  }

  empty() {
    this.head.empty();
    this.plot.empty();
    this.circle.empty();
  }

  destroy() {
    this.plot.destroy();
  }

  /** The row that is looked at: the selected one, else the last, which the inspector shows too. */
  get row() {
    const { selection } = this.player;
    return selection?.lane === this.id ? Math.min(Math.floor(selection.cell / this.steps), this.rows - 1) : this.rows - 1;
  }

  draw() {
    const { player, t, id, steps, rows } = this;
    const state = player.state(id);
    const latents = state.cells;
    let done = 0;
    while (done < steps && latents[done]?.value) done += 1;
    const said = t("series.steps", { n: done, m: steps });
    this.head.draw(state, { said, ...callsOf(player, id, state, t) });
    const finished = state.canvases.series?.cells[0]?.value != null;
    const look = halves(state.previews.series);
    const value = finished ? (row, k, c) => state.canvases.series.cells[row * steps + k].value[c]
      : (row, k, c) => look?.at(row, k, c);
    this.plot.draw({ state, value, length: finished ? steps : (look?.shape[1] ?? 0), done, finished, row: this.row });
    const walk = Array.from({ length: done }, (_, k) => latents[this.row * steps + k].value);
    this.circle.draw({ state, walk, row: this.row, many: rows > 1 });
  }
}

// ---- the curves

class Plot {
  constructor(lane) {
    this.lane = lane;
    this.frame = make("g");
    this.made = make("g");
    this.svg = make("svg", { class: "uf-curves", "aria-hidden": "true" }, this.frame, this.made);
    this.root = make("div", { class: "uf-plot", role: "application", tabindex: "0" }, this.svg);
    this.root.addEventListener("click", (e) => this.#click(e));
    this.root.addEventListener("keydown", (e) => this.#key(e));
    // Watched rather than asked for at each change, which would lay the page out again.
    this.watch = new ResizeObserver(([{ contentRect: { width, height } }]) => {
      if (width === this.width && height === this.height) return;
      Object.assign(this, { width, height });
      lane.redraw();
    });
    this.watch.observe(this.root);
  }

  empty() {
    this.length = 0;
    this.made.replaceChildren();
  }

  destroy() {
    this.watch.disconnect();
  }

  draw(now) {
    const { lane } = this;
    const { t, player } = lane;
    Object.assign(this, now);
    if (!this.width) return;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.left = 0.125 * rem;
    this.foot = 1.375 * rem;
    this.rem = rem;
    const selected = player.selection?.lane === lane.id ? player.selection.cell % lane.steps : null;
    this.root.setAttribute("aria-label", t("series.plot", { title: player.title(lane.id), n: lane.rows, m: lane.steps, row: this.row + 1, step: (selected ?? Math.max(this.done - 1, 0)) + 1 }));
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.frame.replaceChildren(...this.#frame());
    const parts = [...this.#real(), ...this.#made()];
    const mark = selected ?? (this.done && !this.finished ? this.done - 1 : null);
    if (mark !== null) parts.push(...this.#moment(mark, selected !== null));
    this.svg.toggleAttribute("data-many", lane.rows > MANY);
    this.made.replaceChildren(...parts);
  }

  x(k) {
    return this.left + ((this.width - this.left - 4) * k) / Math.max(this.lane.steps - 1, 1);
  }

  /** The band of a channel: where its values 0 and 1 lie. */
  band(c) {
    const n = this.lane.channels;
    const room = this.height - this.foot;
    if (n === 1) return [room - 4, 4];
    const first = room * SHARE;
    const rest = (room - first) / (n - 1);
    return c === 0 ? [first - 6, 2] : [first + c * rest - 2, first + (c - 1) * rest + 6];
  }

  y(c, v) {
    const [low, high] = this.band(c);
    return low + (high - low) * v;
  }

  #frame() {
    const { lane, state } = this;
    const parts = [];
    const trained = state.measures.trained?.value;
    if (trained && trained < lane.steps) {
      const from = this.x(trained - 1);
      parts.push(make("rect", { x: from, y: 0, width: this.width - from, height: this.height - this.foot, class: "uf-beyond" }));
    }
    for (let c = 0; c < lane.channels; c++) {
      parts.push(make("line", { x1: 0, x2: this.width, y1: this.y(c, REAL), y2: this.y(c, REAL), class: "uf-axis" }));
      if (lane.names[c]) parts.push(label(this.left + 2, this.band(c)[1] + 0.75 * this.rem, lane.names[c], "start"));
    }
    const every = lane.steps > 48 ? 24 : lane.steps > 24 ? 12 : 6;
    for (let k = 0; k < lane.steps; k += every) parts.push(this.#tick(k));
    parts.push(this.#tick(lane.steps - 1, "end"));
    if (trained && trained < lane.steps && this.x(lane.steps - 1) - this.x(trained - 1) > 7 * this.rem) {
      parts.push(label(this.width - 6, 0.875 * this.rem, lane.t("series.beyond"), "end", "uf-tick uf-tick-beyond"));
    }
    return parts;
  }

  #tick(k, anchor = k ? "middle" : "start") {
    const x = this.x(k);
    const foot = this.height - this.foot;
    return make("g", {}, make("line", { x1: x, x2: x, y1: foot, y2: foot + 4, class: "uf-axis" }), label(x, this.height - 2, k ? String(k + 1) : this.lane.t("series.first"), anchor));
  }

  /** Real series, faint behind; where steps are missing only what was measured, as dots. */
  #real() {
    const real = halves(this.state.previews.real);
    if (!real) return [];
    const [rows, steps, channels] = real.shape;
    const parts = [];
    for (let c = 0; c < Math.min(channels, this.lane.channels); c++) {
      let path = "";
      for (let row = 0; row < rows; row++) {
        const values = Array.from({ length: steps }, (_, k) => real.at(row, k, c));
        if (values.every(Number.isFinite)) path += line(values, (k) => this.x(k), (v) => this.y(c, v));
        else values.forEach((v, k) => { if (Number.isFinite(v)) path += `M${this.x(k).toFixed(1)} ${this.y(c, v).toFixed(1)}h0`; });
        if (row > MANY) break;
      }
      parts.push(make("path", { d: path, class: "uf-real", "data-dots": path.includes("h0") }));
    }
    return parts;
  }

  #made() {
    const { lane, length, value, finished, row } = this;
    const parts = [];
    if (!length) return parts;
    for (let c = 0; c < lane.channels; c++) {
      let rest = "";
      const curve = (r) => line(Array.from({ length }, (_, k) => value(r, k, c)), (k) => this.x(k), (v) => this.y(c, v));
      for (let r = 0; r < lane.rows; r++) if (r !== row) rest += curve(r);
      parts.push(make("path", { d: rest, class: "uf-curve", "data-pencil": !finished }), make("path", { d: curve(row), class: "uf-curve", "data-own": true, "data-pencil": !finished }));
    }
    return parts;
  }

  #moment(k, selected) {
    const parts = [make("line", { x1: this.x(k), x2: this.x(k), y1: 0, y2: this.height - this.foot, class: "uf-now", "data-selected": selected })];
    if (k < this.length) for (let c = 0; c < this.lane.channels; c++) parts.push(make("circle", { cx: this.x(k), cy: this.y(c, this.value(this.row, k, c)), r: 4, class: "uf-now-dot", "data-pencil": !this.finished }));
    return parts;
  }

  // ---- what the reader does

  #click(event) {
    if (!this.length) return;
    const box = this.svg.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const { steps, rows, channels } = this.lane;
    const k = Math.max(0, Math.min(this.length - 1, Math.round(((px - this.left) / (this.width - this.left - 4)) * (steps - 1))));
    let best = [Infinity, 0];
    for (let row = 0; row < rows; row++) for (let c = 0; c < channels; c++) {
      const far = Math.abs(this.y(c, this.value(row, k, c)) - py);
      if (far < best[0]) best = [far, row];
    }
    this.lane.player.select(this.lane.id, best[1] * steps + k);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const { player, steps, rows, id } = this.lane;
    const cell = player.selection?.lane === id ? player.selection.cell : Math.max(this.done - 1, 0);
    const [row, k] = [Math.floor(cell / steps), cell % steps];
    const to = { ArrowRight: [row, k + 1], ArrowLeft: [row, k - 1], ArrowDown: [row + 1, k], ArrowUp: [row - 1, k], Home: [row, 0], End: [row, steps - 1] }[event.key];
    if (event.key === "Escape") player.select(null);
    else if (to) player.select(id, Math.max(0, Math.min(rows - 1, to[0])) * steps + Math.max(0, Math.min(steps - 1, to[1])));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

// ---- the circle

class Circle {
  constructor(lane) {
    this.lane = lane;
    const ring = (r, kind) => make("circle", { cx: 0, cy: 0, r, class: kind });
    this.walk = make("g");
    this.points = make("g", { role: "listbox", "aria-label": lane.t("series.spectrum") });
    this.svg = make("svg", { viewBox: "-1.16 -1.16 2.32 2.32", class: "uf-circle" },
      make("line", { x1: -1.12, x2: 1.12, y1: 0, y2: 0, class: "uf-axis" }), make("line", { x1: 0, x2: 0, y1: -1.12, y2: 1.12, class: "uf-axis" }),
      ring(0.5, "uf-ring"), ring(1, "uf-unit"), this.walk, this.points);
    this.text = make("p", { class: "uf-eigen" });
    this.root = make("figure", { class: "uf-spectrum" }, this.svg, make("figcaption", {}, this.text));
    this.points.addEventListener("click", (e) => this.#choose(e.target));
    this.points.addEventListener("keydown", (e) => this.#key(e));
  }

  empty() {
    this.root.toggleAttribute("data-none", true);
    this.#lay([]);
    this.walk.replaceChildren();
    write(this.text, "");
  }

  draw({ state, walk }) {
    const { lane } = this;
    const values = (state.canvases.spectrum?.cells ?? []).map((cell) => cell.value);
    const known = values.length > 0 && values.every(Boolean);
    this.root.toggleAttribute("data-none", !known);
    if (!known) {
      this.#lay([]);
      this.walk.replaceChildren();
      write(this.text, lane.t(state.n > 4 ? "series.spectrum.none" : "series.spectrum.waiting"));
      return;
    }
    this.values = values;
    this.trained = state.measures.trained?.value ?? lane.steps;
    const chosen = lane.chosen !== null && values[lane.chosen] ? lane.chosen : foremost(values);
    this.#lay(values, chosen);
    this.#drawWalk(walk, halves(state.previews.modes), chosen);
    const gone = values.filter(([re, im]) => Math.hypot(re, im) ** this.trained < GONE).length;
    write(this.text, `${this.#says(values[chosen])} ${gone ? lane.t("series.gone", { n: gone, m: values.length }) : ""}`);
  }

  #says([re, im]) {
    const { t } = this.lane;
    const size = Math.hypot(re, im);
    const angle = Math.abs(Math.atan2(im, re));
    const left = Math.round(100 * size ** this.trained);
    return t(angle > TURNS ? "series.eigen.turns" : "series.eigen", { size: size.toFixed(2), trained: this.trained, left: left > 1000 ? t("series.eigen.much") : left < 1 ? "<1" : left, steps: (2 * Math.PI / Math.max(angle, 1e-9)).toFixed(angle > 0.6 ? 1 : 0) });
  }

  #lay(values, chosen = -1) {
    const key = `${JSON.stringify(values)} ${chosen}`;
    if (key === this.key) return;
    this.key = key;
    const held = this.points.contains(document.activeElement);
    // The chosen one last, so that it lies on top.
    const order = values.map((_, i) => i).sort((a, b) => Number(a === chosen) - Number(b === chosen));
    this.points.replaceChildren(...order.map((i) => make("circle", {
      cx: values[i][0].toFixed(4), cy: (-values[i][1]).toFixed(4), r: i === chosen ? 0.055 : 0.042, class: "uf-eigenvalue", role: "option",
      "data-i": i, "aria-selected": String(i === chosen), tabindex: i === chosen ? "0" : "-1", "aria-label": this.#says(values[i]),
    })));
    if (held) this.points.lastElementChild?.focus({ preventScroll: true });
  }

  /** The coordinate y_t = z_t · v of the walk, scaled into the circle, and where the matrix alone would put the next. */
  #drawWalk(walk, modes, chosen) {
    if (!modes || !walk.length) {
      this.walk.replaceChildren();
      return;
    }
    const own = walk.map((z) => project(z, modes, chosen));
    const reach = Math.max(...own.map(([a, b]) => Math.hypot(a, b)), 1e-9);
    const at = own.map(([a, b]) => [a / reach, b / reach]);
    const total = this.lane.steps;
    const parts = [];
    for (let k = 1; k < at.length; k++) {
      parts.push(make("path", { d: `M${at[k - 1][0].toFixed(3)} ${(-at[k - 1][1]).toFixed(3)}L${at[k][0].toFixed(3)} ${(-at[k][1]).toFixed(3)}`, class: "uf-walk", style: `stroke:${orderColour(k, total)}` }));
    }
    at.forEach(([a, b], k) => parts.push(make("circle", { cx: a.toFixed(3), cy: (-b).toFixed(3), r: k === at.length - 1 ? 0.03 : 0.016, style: `fill:${orderColour(k, total)}`, class: "uf-walk-dot" })));
    if (at.length > 1 && at.length < total) {
      const [re, im] = this.values[chosen];
      const [a, b] = at[at.length - 2];
      parts.push(make("circle", { cx: (re * a - im * b).toFixed(3), cy: (-(re * b + im * a)).toFixed(3), r: 0.035, class: "uf-ahead" }));
    }
    this.walk.replaceChildren(...parts);
  }

  #choose(target) {
    const i = target.closest?.("[data-i]")?.dataset.i;
    if (i === undefined) return;
    this.lane.chosen = Number(i);
    this.lane.redraw();
  }

  #key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const now = Number(event.target.dataset.i);
    this.lane.chosen = (now + step + this.values.length) % this.values.length;
    this.lane.redraw();
    event.preventDefault();
    event.stopPropagation();
  }
}

/** The eigenvalue to begin with: the largest that turns, else the largest. Falling moduli, upper halves first. */
function foremost(values) {
  const turning = values.findIndex(([re, im]) => im > 0 && Math.abs(Math.atan2(im, re)) > TURNS && Math.hypot(re, im) > MATTERS);
  return Math.max(turning, 0);
}

/** z · v for the i-th eigenvector: [real, imaginary] */
function project(z, modes, i) {
  let [a, b] = [0, 0];
  for (let j = 0; j < z.length; j++) {
    a += z[j] * modes.at(i, 0, j);
    b += z[j] * modes.at(i, 1, j);
  }
  return [a, b];
}

// ---- small things

function line(values, x, y) {
  return values.map((v, k) => `${k ? "L" : "M"}${x(k).toFixed(1)} ${y(v).toFixed(1)}`).join("");
}

function label(x, y, said, anchor, kind = "uf-tick") {
  return make("text", { x, y, "text-anchor": anchor, class: kind }, said);
}

const arrays = new WeakMap();

/** A Preview of half floats as {shape, at(i, j, k)} (i is 0 where it has two dimensions), decoded once; null if there is none or it is damaged. */
export function halves(event) {
  if (!event || event.dtype !== "f16") return null;
  if (!arrays.has(event)) arrays.set(event, unpack(event));
  return arrays.get(event);
}

function unpack({ data, shape }) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
  const [rows, columns] = shape.slice(-2);
  if (![2, 3].includes(shape.length) || bytes.length !== 2 * shape.reduce((a, b) => a * b)) return null;
  const values = Float32Array.from({ length: bytes.length / 2 }, (_, i) => half(bytes[2 * i] | (bytes[2 * i + 1] << 8)));
  return { shape, at: (i, j, k) => values[(i * rows + j) * columns + k] };
}

function half(bits) {
  const exponent = (bits >> 10) & 31;
  const part = bits & 1023;
  const sign = bits & 32768 ? -1 : 1;
  if (exponent === 31) return part ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + part / 1024) : 2 ** -14 * (part / 1024));
}

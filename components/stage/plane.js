// Points in the plane: a map of how dense it is, the network's arrows over the true ones, and walkers that leave trails.
// The ground (map and arrows) is painted once a look; the walk on top of it is painted anew for each moment.

import { make } from "../player/words.js";
import { Head, write } from "./head.js";
import { callsOf, mark } from "./picture.js";

const TRAIL = 10; // steps of each walker that are still drawn as a line
const NEAR = 14; // pixels: a click so near to a point means it
const MAPS = ["density", "error", "none"];

export class PlaneLane {
  constructor({ id, player, t, settings, ink, retool }) {
    Object.assign(this, { id, player, t, settings, ink, retool });
    this.head = new Head(t, player, id);
    this.ground = make("canvas", { class: "uf-picture", "aria-hidden": "true" });
    this.walk = make("canvas", { class: "uf-picture", "aria-hidden": "true" });
    this.pad = make("div", { class: "uf-pad", role: "img", tabindex: "0" });
    this.frame = make("div", { class: "uf-frame" }, this.ground, this.walk, this.pad);
    this.said = make("p", { class: "uf-spot" });
    const looks = ["arrow", "truth", "taken", "refused"];
    this.legend = make("p", { class: "uf-legend" }, ...looks.map((k) => make("span", { "data-look": k }, make("i", {}), t(`plane.legend.${k}`))));
    this.way = make("select", { "aria-label": t("picture.show"), onchange: () => retool({ map: { ...settings.map, [id]: this.way.value } }) },
      ...MAPS.map((value) => make("option", { value }, t(`plane.map.${value}`))));
    const tools = make("label", { class: "uf-pick uf-way" }, t("picture.show"), this.way);
    this.foot = make("div", { class: "uf-foot" }, make("div", { class: "uf-words-line" }, this.legend, this.said, tools));
    this.root = make("section", { class: "uf-lane", "data-lane": id, "data-kind": "plane" }, this.head.root, make("div", { class: "uf-two" }, this.frame, this.foot));
    this.fields = new WeakMap();
    this.pad.addEventListener("pointermove", (e) => this.#read(e));
    this.pad.addEventListener("pointerleave", () => this.#read(null));
    this.pad.addEventListener("click", (e) => this.#choose(e));
    this.pad.addEventListener("keydown", (e) => this.#keydown(e));
  }

  resize(side) {
    this.side = side;
    this.key = "";
  }

  retheme() {
    this.key = "";
  }

  /** Another run in the same plane. */
  renew() {
    this.key = "";
  }

  empty() {
    this.head.empty();
    for (const canvas of [this.ground, this.walk]) canvas.width += 0; // wipes it
    write(this.said, "");
  }

  destroy() {}

  light() {}

  point() {}

  draw() {
    const { player, t } = this;
    const state = player.state(this.id);
    this.state = state;
    const { box, n } = state.canvas.shape;
    Object.assign(this, { box, n, walkers: state.canvas.rows ?? 1 });
    this.step = state.decisions.length ? state.decisions.at(-1).cells[0] % n : 0;
    mark(this.root, "data-done", Boolean(state.done));
    const taken = state.cells.reduce((sum, c) => sum + (c.verdict === "accepted"), 0);
    const judged = this.step * this.walkers;
    const said = (share) => t("plane.taken", { n: share });
    this.head.draw(state, { said: judged ? said(Math.round((100 * taken) / judged)) : "", widest: said(100), ...callsOf(player, this.id, state, t) });
    this.map = this.settings.map?.[this.id] ?? state.canvas.map ?? "density";
    if (this.way.value !== this.map) this.way.value = this.map;
    this.pad.setAttribute("aria-label", t("plane.label", { title: player.title(this.id), walkers: this.walkers, step: this.step, m: n - 1 }));
    this.#drawGround(state);
    this.#drawWalk(state);
    this.#say();
  }

  // ---- pens and places

  #pen(canvas) {
    const ratio = Math.min(globalThis.devicePixelRatio || 1, 2);
    const px = Math.round(this.side * ratio);
    if (canvas.width !== px) canvas.width = canvas.height = px;
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.side, this.side);
    return pen;
  }

  /** Place in pixels of a point, and back; up is up. */
  #at([x, y]) {
    const [left, bottom, right, top] = this.box;
    return [((x - left) / (right - left)) * this.side, ((top - y) / (top - bottom)) * this.side];
  }

  #back(px, py) {
    const [left, bottom, right, top] = this.box;
    return [left + (px / this.side) * (right - left), top - (py / this.side) * (top - bottom)];
  }

  #field(name) {
    const event = this.state.previews[name];
    if (!event) return null;
    if (!this.fields.has(event)) this.fields.set(event, decoded(event));
    return this.fields.get(event);
  }

  // ---- the ground

  #drawGround(state) {
    const key = `${this.side} ${this.map} ${["arrows", "truth", "density", "error"].map((k) => state.previews[k]?.n).join()} ${this.player.version}`;
    if (key === this.key) return;
    this.key = key;
    const pen = this.#pen(this.ground);
    const heat = this.map === "none" ? null : this.#field(this.map);
    if (heat) this.#heat(pen, heat, this.ink.get(this.map === "error" ? "proposed" : "masked"));
    const [arrows, truth] = [this.#field("arrows"), this.#field("truth")];
    if (!arrows || !truth) return;
    const sizes = truth.values.reduce((all, _, i) => (i % 2 ? all : [...all, Math.hypot(truth.values[i], truth.values[i + 1])]), []).sort((a, b) => a - b);
    this.usual = sizes[Math.floor(sizes.length / 2)] || 1e-6;
    this.#arrows(pen, truth, "ink", 1, 0.6, false);
    this.#arrows(pen, arrows, "committed", 1.75, 1, true);
  }

  #heat(pen, { shape: [h, w], values }, colour) {
    const [paper, tint] = [rgb(this.ink.get("page")), rgb(colour)];
    if (!paper || !tint) return; // forced colours: the arrows alone tell it
    const image = new ImageData(w, h);
    for (let i = 0; i < h * w; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = paper[c] + (tint[c] - paper[c]) * values[i] * 0.8;
      image.data[4 * i + 3] = 255;
    }
    const small = document.createElement("canvas");
    [small.width, small.height] = [w, h];
    small.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(small, 0, 0, this.side, this.side);
  }

  /** One arrow a square of the lattice; long ones are shortened so that none leaves its square. */
  #arrows(pen, { shape: [h, w], values }, colour, width, alpha, headed) {
    const room = this.side / w;
    pen.strokeStyle = this.ink.get(colour);
    pen.globalAlpha = alpha;
    pen.lineWidth = width;
    pen.lineCap = "round";
    pen.beginPath();
    for (let i = 0; i < h * w; i++) {
      const [dx, dy] = [values[2 * i], -values[2 * i + 1]];
      const size = Math.hypot(dx, dy);
      const long = (0.95 * room * size) / (size + this.usual);
      if (long < 1.5) continue;
      const [ux, uy] = [dx / size, dy / size];
      const [x, y] = [((i % w) + 0.5) * room - (ux * long) / 2, (Math.floor(i / w) + 0.5) * room - (uy * long) / 2];
      const [tx, ty] = [x + ux * long, y + uy * long];
      pen.moveTo(x, y);
      pen.lineTo(tx, ty);
      if (!headed || long < 4) continue;
      const tip = Math.min(3.4, long * 0.4);
      pen.moveTo(tx - tip * (ux + 0.7 * uy), ty - tip * (uy - 0.7 * ux));
      pen.lineTo(tx, ty);
      pen.lineTo(tx - tip * (ux - 0.7 * uy), ty - tip * (uy + 0.7 * ux));
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  // ---- the walk

  #drawWalk(state) {
    const pen = this.#pen(this.walk);
    const colour = (name) => this.ink.get(name);
    const { n, walkers, step } = this;
    const chosen = this.player.selection?.lane === this.id ? this.player.selection.cell : null;
    pen.fillStyle = colour("ink");
    pen.globalAlpha = 0.5;
    for (let w = 0; w < walkers; w++) {
      for (let k = this.#stands(w); k >= 1; k--) {
        const [x, y] = this.#at(state.cells[w * n + k].value);
        pen.fillRect(x - 1.25, y - 1.25, 2.5, 2.5);
      }
    }
    pen.globalAlpha = 1;
    for (let w = 0; w < walkers; w++) this.#trail(pen, state, w, chosen !== null && Math.floor(chosen / n) === w ? 0 : Math.max(0, step - TRAIL));
    for (let w = 0; w < walkers; w++) this.#walker(pen, state, w);
    if (chosen !== null) {
      const cell = state.cells[chosen];
      if (cell?.value) this.#ring(pen, this.#at(cell.value), 7.5, "ink", 2.5);
    }
  }

  /** The last step of a walker that is decided: within a step some walkers are judged before others. */
  #stands(w) {
    return this.state.cells[w * this.n + this.step].value ? this.step : this.step - 1;
  }

  /** Where a walker came from: older steps fade. */
  #trail(pen, state, w, from) {
    pen.strokeStyle = this.ink.get("accepted");
    pen.lineWidth = 1.75;
    for (let k = from + 1; k <= this.#stands(w); k++) {
      const [a, b] = [state.cells[w * this.n + k - 1].value, state.cells[w * this.n + k].value];
      if (a[0] === b[0] && a[1] === b[1]) continue;
      pen.globalAlpha = Math.max(0.12, 1 - (this.step - k) / TRAIL);
      pen.beginPath();
      pen.moveTo(...this.#at(a));
      pen.lineTo(...this.#at(b));
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  #walker(pen, state, w) {
    const now = state.cells[w * this.n + this.#stands(w)];
    const next = state.cells[w * this.n + this.#stands(w) + 1];
    const [x, y] = this.#at(now.value);
    const open = ["proposed", "accepted", "rejected"].includes(next?.state);
    if (open) this.#jump(pen, now.value, next.draft, next.state);
    else if (now.verdict === "rejected" && now.struck && !state.done) this.#jump(pen, now.value, now.struck, "rejected");
    pen.fillStyle = this.ink.get("ink");
    pen.strokeStyle = this.ink.get("page");
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, 4.5, 0, 7);
    pen.fill();
    pen.stroke();
    if (now.verdict === "accepted" && !open && !state.done) this.#ring(pen, [x, y], 7, "accepted", 2);
  }

  /** A jump that is offered, taken or refused: the line to its end, and a mark there. */
  #jump(pen, from, to, look) {
    const [a, b] = [this.#at(from), this.#at(to)];
    const colour = this.ink.get(look);
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    pen.setLineDash(look === "accepted" ? [] : [3, 3]);
    pen.beginPath();
    pen.moveTo(...a);
    pen.lineTo(...b);
    pen.stroke();
    pen.setLineDash([]);
    if (look !== "rejected") return this.#ring(pen, b, 4, look, 2);
    const r = 3.5;
    pen.lineWidth = 2.25;
    pen.beginPath();
    pen.moveTo(b[0] - r, b[1] - r);
    pen.lineTo(b[0] + r, b[1] + r);
    pen.moveTo(b[0] + r, b[1] - r);
    pen.lineTo(b[0] - r, b[1] + r);
    pen.stroke();
  }

  #ring(pen, [x, y], r, colour, width) {
    pen.strokeStyle = this.ink.get("page");
    pen.lineWidth = width + 2;
    pen.beginPath();
    pen.arc(x, y, r, 0, 7);
    pen.stroke();
    pen.strokeStyle = this.ink.get(colour);
    pen.lineWidth = width;
    pen.stroke();
  }

  // ---- reading and choosing

  #read(event) {
    this.reading = event && [event.offsetX, event.offsetY];
    this.#say();
  }

  /** What the arrows say where the pointer is. */
  #say() {
    const { t } = this;
    const arrows = this.state && this.#field("arrows");
    const truth = this.state && this.#field("truth");
    const on = Boolean(this.reading && arrows && truth);
    mark(this.legend, "data-off", on);
    if (!on) return write(this.said, "");
    const [px, py] = this.reading;
    const told = (field) => pair(between(field, px / this.side, py / this.side));
    write(this.said, t("plane.read", { at: pair(this.#back(px, py)), own: told(arrows), truth: told(truth) }));
  }

  #choose(event) {
    let best = null;
    let near = NEAR;
    for (let w = 0; w < this.walkers; w++) {
      for (let k = this.#stands(w); k >= 0; k--) {
        const [x, y] = this.#at(this.state.cells[w * this.n + k].value);
        const far = Math.hypot(x - event.offsetX, y - event.offsetY);
        if (far < near) [near, best] = [far, w * this.n + k];
      }
    }
    this.#select(best);
  }

  #select(cell) {
    const { selection } = this.player;
    if (cell === null || (selection?.lane === this.id && selection.cell === cell)) this.player.select(null);
    else this.player.select(this.id, cell);
  }

  /** Up and down: another walker; left and right: another of its steps. */
  #keydown(event) {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [0, 0] }[event.key];
    if (!by || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const { selection } = this.player;
    const cell = selection?.lane === this.id ? selection.cell : this.step;
    const w = Math.min(Math.max(Math.floor(cell / this.n) + by[0], 0), this.walkers - 1);
    const k = Math.min(Math.max((cell % this.n) + by[1], 0), this.step);
    if (event.key === "Enter" && selection?.lane === this.id) this.player.select(null);
    else this.player.select(this.id, w * this.n + k);
    event.preventDefault();
    event.stopPropagation();
  }
}

/** The numbers of a preview: {shape, values}; bytes as 0 to 1. */
function decoded({ dtype, data, shape }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  if (dtype === "u8") return { shape, values: Float32Array.from(bytes, (b) => b / 255) };
  const view = new DataView(bytes.buffer);
  return { shape, values: Float32Array.from({ length: bytes.length / 2 }, (_, i) => half(view.getUint16(2 * i, true))) };
}

/** IEEE half precision: a sign, five bits of exponent, ten of fraction. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

/** The vector at a share of the way across and down, between the four middles around it. */
function between({ shape: [h, w], values }, across, down) {
  const clip = (v, m) => Math.min(Math.max(v, 0), m - 1.001);
  const [x, y] = [clip(across * w - 0.5, w), clip(down * h - 0.5, h)];
  const [c, r] = [Math.floor(x), Math.floor(y)];
  return [0, 1].map((k) => {
    const v = (i, j) => values[2 * (i * w + j) + k];
    const [fx, fy] = [x - c, y - r];
    return (v(r, c) * (1 - fx) + v(r, c + 1) * fx) * (1 - fy) + (v(r + 1, c) * (1 - fx) + v(r + 1, c + 1) * fx) * fy;
  });
}

function rgb(colour) {
  const found = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(colour);
  return found && found.slice(1).map((part) => parseInt(part, 16));
}

const signed = (v) => v.toFixed(2).replace("-", "\u2212");

/** A point or a vector in a sentence. */
export const pair = ([x, y]) => `(${signed(x)}, ${signed(y)})`;

// A net of variables that light up one after another as a chain is written, and under it the answers on one line:
// the truth, what is usual, each chain's answer and their mean.

import { make, short } from "../player/words.js";
import { Head, write } from "./head.js";
import { callsOf, mark } from "./picture.js";
import { orderColour } from "./thread.js";

const RIM = 0.085; // of the side, kept free around the net
const SCALE = { height: 62, line: 20, inset: 14 };

export class GraphLane {
  constructor({ id, player, t }) {
    Object.assign(this, { id, player, t });
    this.head = new Head(t, player, id);
    this.svg = make("svg", { class: "uf-net", role: "group" });
    this.scale = make("svg", { class: "uf-scale-line", role: "img" });
    this.legend = make("p", { class: "uf-legend" }, ...["given", "asked", "one", "zero", "near", "truth", "usual", "mean"].map((k) => make("span", { "data-look": k }, make("i", {}), t(`graph.legend.${k}`))));
    this.foot = make("div", { class: "uf-foot" }, this.scale, this.legend);
    this.root = make("section", { class: "uf-lane", "data-lane": id, "data-kind": "graph" }, this.head.root, make("div", { class: "uf-two" }, make("div", { class: "uf-frame" }, this.svg), this.foot));
  }

  resize(side, beside) {
    this.side = side;
    this.wide = beside || side;
    this.shape = null;
  }

  retheme() {}

  /** Another run, perhaps on another net. */
  renew() {
    this.shape = null;
  }

  empty() {
    this.head.empty();
    for (const drawing of [this.svg, this.scale]) drawing.replaceChildren();
  }

  destroy() {}

  point() {}

  light(what) {
    const cells = what ? new Set(what.cells.map((c) => c % this.size)) : null;
    mark(this.root, "data-lit", Boolean(what));
    this.nodes?.forEach((node, i) => mark(node.root, "data-seen", Boolean(cells?.has(i))));
  }

  draw() {
    const { player, t } = this;
    const state = player.state(this.id);
    this.state = state;
    const { canvas } = state;
    this.size = canvas.shape.nodes.length;
    const chains = canvas.rows ?? 1;
    const m = state.phase?.unit === "chain" ? state.phase.index : 0;
    this.base = m * this.size;
    if (this.shape !== canvas.shape) this.#lay(canvas);
    mark(this.root, "data-done", Boolean(state.done));
    const said = (k) => t("graph.chain", { n: k, m: chains });
    this.head.draw(state, { said: chains > 1 ? said(m + 1) : "", widest: chains > 1 ? said(chains) : "", ...callsOf(player, this.id, state, t) });
    mark(this.svg, "aria-label", t("graph.label", { title: player.title(this.id) }));
    this.#drawNodes(state);
    this.#drawThread(state);
    this.#drawScale(state);
  }

  // ---- the net: edges and nodes are made once, then only marked

  #lay(canvas) {
    const { side } = this;
    const { nodes, edges } = canvas.shape;
    this.shape = canvas.shape;
    this.r = Math.max(15, side * 0.041);
    this.at = nodes.map(({ at: [x, y] }) => [side * (RIM + x * (1 - 2 * RIM)), side * (RIM + y * (1 - 2 * RIM))]);
    mark(this.svg, "viewBox", `0 0 ${side} ${side}`);
    const lines = edges.map(([a, b]) => make("path", { class: "uf-edge", d: this.#arrow(this.at[a], this.at[b]) }));
    this.thread = make("g", { class: "uf-net-thread" });
    this.nodes = nodes.map((node, i) => this.#node(node, i, canvas));
    this.svg.replaceChildren(make("g", {}, ...this.nodes.map((n) => n.halo)), make("g", {}, ...lines), this.thread, make("g", {}, ...this.nodes.map((n) => n.root)));
  }

  #arrow([x1, y1], [x2, y2]) {
    const far = Math.hypot(x2 - x1, y2 - y1) || 1;
    const [ux, uy] = [(x2 - x1) / far, (y2 - y1) / far];
    const [ax, ay] = [x1 + ux * this.r, y1 + uy * this.r];
    const [bx, by] = [x2 - ux * (this.r + 3), y2 - uy * (this.r + 3)];
    const tip = 6;
    return `M${ax} ${ay} L${bx} ${by} M${bx - tip * (ux + 0.6 * uy)} ${by - tip * (uy - 0.6 * ux)} L${bx} ${by} L${bx - tip * (ux - 0.6 * uy)} ${by - tip * (uy + 0.6 * ux)}`;
  }

  #node({ name }, i, canvas) {
    const [x, y] = this.at[i];
    const { r } = this;
    const choose = () => this.#choose(i);
    const letter = make("text", { class: "uf-node-name", x, y }, name);
    const value = make("text", { class: "uf-node-value", x, y: y + r * 0.66 });
    const fill = make("path", { class: "uf-node-fill" });
    const root = make("g", { class: "uf-node", role: "button", tabindex: "0", "data-node": i, "data-asked": i === canvas.target, "data-given": i === canvas.given, onclick: choose, onkeydown: (e) => { if (e.key === "Enter" || e.key === " ") { choose(); e.preventDefault(); } } },
      make("circle", { class: "uf-node-ring", cx: x, cy: y, r: r + 4.5 }), make("circle", { class: "uf-node-disc", cx: x, cy: y, r }), fill, letter, value);
    return { root, fill, value, halo: make("circle", { class: "uf-node-halo", cx: x, cy: y, r: 0 }), name };
  }

  #drawNodes(state) {
    const { t } = this;
    const shares = state.measures.company?.values;
    const newest = state.done ? null : state.latest?.cells?.at(-1);
    const chosen = this.player.selection?.lane === this.id ? this.player.selection.cell : null;
    this.nodes.forEach((node, i) => {
      const cell = state.cells[this.base + i];
      const known = cell.state === "given" || cell.state === "committed";
      const p = cell.state === "proposed" ? cell.draft : null;
      const own = i === state.canvas.target;
      mark(node.halo, "r", shares && shares[i] > 0 && !own ? this.r * (1.12 + 0.75 * Math.sqrt(shares[i])) : 0);
      mark(node.root, "data-value", known ? String(cell.value) : null);
      mark(node.root, "data-read", p !== null);
      mark(node.root, "data-fresh", newest === this.base + i);
      mark(node.root, "data-forced", cell.origin === "forced");
      mark(node.root, "aria-pressed", String(chosen === this.base + i));
      write(node.value, known ? String(cell.value) : p !== null ? short(p) : "");
      mark(node.root, "data-told", known || p !== null);
      mark(node.fill, "d", p === null ? "" : level(this.at[i], this.r, p));
      const said = [node.name, own && t("graph.legend.asked"), known && t("graph.is", { value: cell.value }), p !== null && t("graph.read", { p: short(p) }), cell.state === "given" && t("state.given")];
      mark(node.root, "aria-label", said.filter(Boolean).join(", "));
    });
  }

  /** A line from each variable of this chain to the next, in the order in which they were written. */
  #drawThread(state) {
    const own = state.decisions.flatMap((d) => d.cells).filter((c) => c >= this.base && c < this.base + this.size).map((c) => c - this.base);
    const { target, given } = state.canvas;
    const read = state.cells[this.base + target].state === "proposed";
    const path = [given, ...own, ...(read ? [target] : [])];
    const key = `${this.base} ${path.join()} ${this.side}`;
    if (key === this.threadKey) return;
    this.threadKey = key;
    this.thread.replaceChildren(...path.slice(1).map((to, k) => make("path", { class: "uf-net-link", d: this.#bow(this.at[path[k]], this.at[to]), style: `stroke:${orderColour(k, Math.max(path.length - 1, 4))}` })));
  }

  /** A bowed line between two nodes, so that it does not hide the edge under it. */
  #bow([x1, y1], [x2, y2]) {
    const far = Math.hypot(x2 - x1, y2 - y1) || 1;
    const bow = Math.min(0.22 * far, 40);
    const [cx, cy] = [(x1 + x2) / 2 - ((y2 - y1) / far) * bow, (y1 + y2) / 2 + ((x2 - x1) / far) * bow];
    return `M${x1} ${y1} Q${cx} ${cy} ${x2} ${y2}`;
  }

  // ---- the answers on a line from 0 to 1

  #drawScale(state) {
    const { t } = this;
    const { target, rows = 1 } = state.canvas;
    const answers = [];
    for (let m = 0; m < rows; m++) {
      const cell = state.cells[m * this.size + target];
      if (cell.state === "proposed") answers.push(cell.draft);
    }
    const { truth, marginal, estimate } = state.measures;
    const width = this.wide;
    const x = (p) => SCALE.inset + p * (width - 2 * SCALE.inset);
    const y = SCALE.line;
    const upright = (p, name, reach) => p && make("path", { class: `uf-mark-${name}`, d: `M${x(p.value)} ${y - reach} V${y + reach}` });
    const number = (p) => make("text", { class: "uf-scale-number", x: x(p), y: y + 24 }, short(p) || "0");
    const name = state.canvas.shape.nodes[target].name;
    mark(this.scale, "viewBox", `0 0 ${width} ${SCALE.height}`);
    this.scale.style.height = `${SCALE.height}px`;
    mark(this.scale, "aria-label", [t("graph.scale", { name }), truth && `${t("graph.legend.truth")} ${short(truth.value)}`, estimate && `${t("graph.legend.mean")} ${short(estimate.value)}`].filter(Boolean).join(", "));
    this.scale.replaceChildren(
      make("path", { class: "uf-scale-axis", d: `M${x(0)} ${y} H${x(1)} M${x(0)} ${y - 5} V${y + 5} M${x(1)} ${y - 5} V${y + 5}` }), number(0), number(1),
      make("text", { class: "uf-line-name", x: x(0.5), y: y + 38 }, t("graph.scale", { name })),
      ...answers.map((p) => make("circle", { class: "uf-mark-answer", cx: x(p), cy: y, r: 3.5 })),
      ...[upright(marginal, "usual", 9), upright(truth, "truth", 14)].filter(Boolean),
      ...(estimate ? [make("circle", { class: "uf-mark-mean", cx: x(estimate.value), cy: y, r: 7 })] : []));
  }

  #choose(i) {
    const cell = this.base + i;
    const { selection } = this.player;
    if (selection?.lane === this.id && selection.cell === cell) this.player.select(null);
    else this.player.select(this.id, cell);
  }
}

/** The part of a disc below a level: p of its height is filled. */
function level([x, y], r, p) {
  const top = y + r - 2 * r * Math.min(Math.max(p, 0.001), 0.999);
  const half = Math.sqrt(Math.max(r * r - (top - y) ** 2, 0));
  return `M${x - half} ${top} A${r} ${r} 0 ${p > 0.5 ? 1 : 0} 0 ${x + half} ${top} Z`;
}

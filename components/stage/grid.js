// A picture of h x w squares that are chosen one by one or in sets: what is not chosen yet is paper over the picture,
// what is chosen but not painted yet bears a mark, the newest choice is outlined.

import { expand } from "../player/player.js";
import { make, short, shown } from "../player/words.js";
import { Head, write } from "./head.js";
import { callsOf, Frame, mark, sheetOf } from "./picture.js";
import { fade, orderColour } from "./thread.js";

const ROW = { under: 32, beside: 16 }; // squares of the tape in one row
const TAIL = 12; // squares of the thread that are still seen behind the newest
const PATHS = ["off", "recent", "whole"];
// Who had the last word on a square, where guesses are checked.
const SETTLED = { sampled: "own", accepted: "kept", repaired: "redrawn" };
const settled = (cell) => (cell.state === "committed" ? SETTLED[cell.origin] : null);
// What only some lanes have, and how it is known.
const RARE = {
  proposed: (cell) => cell.state === "proposed",
  withdrawn: (cell) => cell.state === "withdrawn",
  vote: (cell) => heard(cell),
  ...Object.fromEntries(Object.values(SETTLED).map((look) => [look, (cell, checks) => checks && settled(cell) === look])),
};

export class GridLane {
  constructor({ id, player, t, settings, shots, ink, redraw, retool, pick }) {
    Object.assign(this, { id, player, t, settings, shots, ink, redraw, pick });
    this.head = new Head(t, player, id);
    this.frame = new Frame({
      onchoose: (cell) => this.#choose(cell),
      onpoint: (cell) => player.emit("point", cell === null ? null : { lane: id, cell }),
      still: player.reducedMotion,
    });
    this.tape = make("canvas", { class: "uf-tape", "aria-hidden": "true" });
    this.said = make("p", { class: "uf-spot" });
    this.legend = make("p", { class: "uf-legend" }, ...["waiting", "fresh", ...Object.keys(RARE)].map((k) => make("span", { "data-look": k }, make("i", {}), t(`picture.legend.${k}`))));
    this.rare = new Map(Object.keys(RARE).map((k) => [k, this.legend.querySelector(`[data-look="${k}"]`)]));
    this.time = make("div", { class: "uf-shares", hidden: true });
    this.line = make("div", { class: "uf-words-line" }, this.legend, this.said, this.#paths(retool));
    this.foot = make("div", { class: "uf-foot" }, make("p", { class: "uf-tape-name" }, t("picture.tape")), this.tape, this.line, this.time);
    this.root = make("section", { class: "uf-lane", "data-lane": id, "data-kind": "grid" }, this.head.root, make("div", { class: "uf-two" }, this.frame.root, this.foot));
    this.renew();
    this.tape.addEventListener("pointermove", (e) => this.#overTape(e));
    this.tape.addEventListener("pointerleave", () => player.emit("point", null));
    this.tape.addEventListener("click", (e) => { if (this.#tapeCell(e) != null) this.#choose(this.#tapeCell(e)); });
  }

  /** Another run on the same squares: nothing of the old one is known any more. */
  renew() {
    this.keys = [];
    this.links = new Map();
    this.pointed = null;
    this.sums = { at: -1, ms: new Map() };
    this.sheet = this.threadKey = this.tapeKey = this.shareKey = null;
    for (const part of this.rare.values()) part.hidden = true; // until this run has made one
  }

  empty() {
    this.head.empty();
    this.frame.empty("masked");
    this.tape.width += 0; // wipes it
    this.time.hidden = true;
    write(this.said, "");
  }

  #paths(retool) {
    this.way = make("select", { "aria-label": this.t("picture.show"), onchange: () => retool({ thread: this.way.value }) },
      ...PATHS.map((value) => make("option", { value }, this.t(`picture.path.${value}`))));
    return make("label", { class: "uf-pick uf-way" }, this.t("picture.show"), this.way);
  }

  /** Measures that have a value at each cell can be laid over the picture. */
  #offerHeat(state) {
    const { thread } = this.settings; // what another lane has to show may be chosen before this one has it
    const asked = thread.startsWith("heat ") ? [thread.slice(5)] : [];
    for (const name of [...asked, ...Object.keys(state.measures).filter((k) => state.measures[k].cells)]) {
      const value = `heat ${name}`;
      if (!this.way || [...this.way.options].some((o) => o.value === value)) continue;
      const known = this.t(`measure.${name}`);
      this.way.append(make("option", { value }, known === `measure.${name}` ? name.replaceAll("_", " ") : known));
    }
  }

  /** A disc on each cell, its area the value: filled where it is above zero, hollow below. */
  #heat(event, w) {
    const cells = expand(event.cells);
    const top = Math.max(...event.values.map((v) => Math.abs(v ?? 0)), 1e-9);
    return cells.map((cell, i) => {
      const v = event.values[i] ?? 0;
      return make("circle", { cx: (cell % w) * 10 + 5, cy: Math.floor(cell / w) * 10 + 5, r: 4.2 * Math.sqrt(Math.abs(v) / top), class: v < 0 ? "uf-heat-below" : "uf-heat" });
    });
  }

  resize(side, room) {
    this.side = side;
    this.row = room ? ROW.beside : ROW.under;
    this.reach = room || side;
    this.tapeKey = "";
  }

  /** Colours of the page changed: what is painted rather than styled is painted anew. */
  retheme() {
    this.tapeKey = "";
  }

  destroy() {
    this.frame.stop();
  }

  draw(quick) {
    const { player, t, frame } = this;
    const state = player.state(this.id);
    const [h, w] = state.canvas.shape;
    this.state = state;
    this.quick = quick;
    if (!frame.h) this.keys = [];
    frame.lay(h, w, 0);
    this.sheet ??= sheetOf(this.settings.codes, state.nets, this.redraw);
    mark(this.root, "data-done", Boolean(state.done));
    this.checks = state.nets.some((net) => net.role === "draft");
    mark(this.root, "data-checks", this.checks);
    const squares = (n) => t("picture.squares", { n, m: h * w });
    this.head.draw(state, { said: squares(state.written), widest: squares(h * w), ...callsOf(player, this.id, state, t) });
    mark(frame.grid, "aria-label", t("picture.grid", { title: player.title(this.id), h, w }));
    this.#offerHeat(state);
    if (this.way && this.way.value !== this.settings.thread) this.way.value = this.settings.thread;
    this.#drawPicture(state, w);
    this.#drawSquares(state);
    this.#drawThread(state, w);
    this.#drawTape(state, w);
    this.#drawShares(state);
    for (const [look, part] of this.rare) if (part.hidden) part.hidden = !state.cells.some((cell) => RARE[look](cell, this.checks));
    this.#say();
  }

  // ---- the picture

  #drawPicture(state, w) {
    const { shots, frame, t } = this;
    this.shot = shots.drawn(this.id, ["picture"], state.n);
    // While a set comes out of the noise its squares show the newest denoising step.
    const noise = shots.drawn(this.id, ["denoise"], state.n);
    const last = state.decisions.at(-1)?.n ?? -1;
    this.noise = noise && noise.n > last && noise.n > (this.shot?.n ?? -1) && !state.done ? noise : null;
    this.noisy = new Set(this.noise ? (state.phase?.cells ?? []).filter((c) => !this.#held(state.cells[c])) : []);
    const waiting = [];
    state.cells.forEach((cell, i) => { if (this.#held(cell) && !this.#painted(cell)) waiting.push(i); });
    this.waiting = new Set(waiting);
    const drafts = this.sheet ? state.cells.flatMap((cell, i) => (cell.state === "proposed" && cell.draft != null ? [i] : [])) : [];
    const key = `${this.noise?.n ?? ""} ${drafts.map((i) => `${i}?${state.cells[i].draft}`).join()} ${waiting.map((i) => `${i}:${state.cells[i].value}`).join()}`;
    frame.sketched((this.noise ?? this.shot)?.net, t);
    frame.paint(shots.bitmap(this.shot), {
      side: this.side, quick: this.quick, key,
      over: (pen, px) => {
        const s = px / w;
        const bitmap = shots.bitmap(this.noise);
        for (const cell of this.noisy) {
          const part = bitmap.width / w;
          pen.drawImage(bitmap, (cell % w) * part, Math.floor(cell / w) * part, part, part, (cell % w) * s, Math.floor(cell / w) * s, s, s);
        }
        // A draft is seen through paper.
        pen.globalAlpha = 0.45;
        for (const cell of drafts) {
          pen.clearRect((cell % w) * s, Math.floor(cell / w) * s, s, s);
          this.sheet.draw(pen, state.cells[cell].draft, (cell % w) * s, Math.floor(cell / w) * s, s);
        }
        pen.globalAlpha = 1;
        if (this.sheet) for (const cell of waiting) this.sheet.draw(pen, state.cells[cell].value, (cell % w) * s, Math.floor(cell / w) * s, s);
      },
    });
  }

  #held(cell) {
    return cell.state === "committed" || cell.state === "given";
  }

  #painted(cell) {
    return Boolean(this.shot) && (cell.state === "given" || cell.decidedAt < this.shot.n || (cell.verdict === "accepted" && this.#sketched(cell)));
  }

  /** Is a guess of plain numbers in the newest picture? */
  #sketched(cell) {
    return Boolean(this.shot) && cell.draft == null && cell.proposedAt < this.shot.n;
  }

  // ---- squares

  #drawSquares(state) {
    const newest = new Set(state.done || this.noisy.size ? [] : state.decisions.at(-1)?.cells ?? []);
    const { selection } = this.player;
    state.cells.forEach((cell, i) => {
      const square = this.frame.square(i);
      let look = cell.state;
      // What was taken back is marked until the next call, then it is open again.
      if (look === "withdrawn" && (cell.touched !== state.calls || state.done)) look = "masked";
      if (this.noisy.has(i)) look = "noise";
      else if (this.#held(cell)) look = this.#painted(cell) ? "shown" : "waiting";
      const chosen = selection?.lane === this.id && selection.cell === i;
      const other = this.settings.others?.[this.id]?.[i];
      const differs = this.#held(cell) && other != null && other !== cell.value && cell.origin !== "forced";
      const picked = this.settings.pickBlanks ? Boolean(this.settings.picks?.has(i)) : null;
      const key = `${look} ${newest.has(i)} ${chosen} ${cell.n} ${Boolean(this.sheet)} ${differs} ${picked} ${this.checks && settled(cell)} ${look === "proposed" && this.#sketched(cell)}`;
      if (this.keys[i]?.key === key && this.keys[i].square === square) return;
      this.keys[i] = { key, square };
      mark(square, "data-state", look);
      mark(square, "data-fresh", newest.has(i));
      mark(square, "data-other", differs);
      mark(square, "data-given", cell.state === "given");
      mark(square, "data-picked", picked);
      mark(square, "data-forced", cell.origin === "forced");
      mark(square, "data-sheet", Boolean(this.sheet) && ((look === "waiting" && cell.value != null) || (look === "proposed" && cell.draft != null)) || (look === "proposed" && this.#sketched(cell)));
      mark(square, "data-settled", this.checks ? settled(cell) : null);
      mark(square, "aria-selected", String(picked ?? chosen));
      square.setAttribute("aria-label", this.#name(i, cell) + (picked === null ? "" : `, ${this.t(picked ? "picture.picked" : "picture.unpicked")}`));
    });
  }

  #name(i, cell) {
    const { t, state } = this;
    const w = state.canvas.shape[1];
    const parts = [t("picture.square", { row: Math.floor(i / w) + 1, column: (i % w) + 1 }), t(cell.origin === "forced" ? "picture.state.forced" : this.checks && settled(cell) ? `picture.legend.${settled(cell)}` : `picture.state.${cell.state}`)];
    if (this.#held(cell) && cell.value != null) parts.push(t("picture.code", { code: shown(cell.value) }));
    if (cell.state === "committed") {
      if (cell.value != null && cell.chance != null) parts.push(t("cell.p", { p: short(cell.chance) }));
      parts.push(t("picture.decided", { n: cell.call }));
    }
    return parts.join(", ");
  }

  /** The same for the eye, short enough for the line under the picture. */
  #spot(i, cell) {
    const w = this.state.canvas.shape[1];
    const parts = [this.t("picture.square", { row: Math.floor(i / w) + 1, column: (i % w) + 1 })];
    if (cell.value != null) parts.push(this.t("picture.code", { code: shown(cell.value) }));
    else if (!this.#held(cell)) parts.push(this.t(`picture.state.${cell.state}`));
    if (cell.value != null && cell.chance != null) parts.push(this.t("picture.p", { p: short(cell.chance) }));
    if (cell.call) parts.push(this.t("picture.decided", { n: cell.call }));
    return parts.join(" \u00b7 ");
  }

  // ---- thread: a path through the centres, in the order of the decisions

  #drawThread(state, w) {
    const { decisions } = state;
    const way = this.settings.thread;
    const heat = way.startsWith("heat ") ? state.measures[way.slice(5)] : null;
    const key = `${way} ${decisions.length} ${Boolean(state.done)} ${w} ${heat?.n}`;
    if (key === this.threadKey) return;
    this.threadKey = key;
    const over = Boolean(state.done);
    if (way.startsWith("heat ")) {
      mark(this.frame.path, "data-faded", false);
      this.frame.path.replaceChildren(...(heat ? this.#heat(heat, w) : []));
      return;
    }
    mark(this.frame.path, "data-faded", over && way !== "whole");
    for (const link of this.links.values()) link.used = false;
    const total = Math.max(decisions.length, over ? 0 : this.#expected(state), 2);
    const place = (cell) => [(cell % w) * 10 + 5, Math.floor(cell / w) * 10 + 5];
    const gap = ([from, to]) => far(place(from), place(to));
    let first = way === "off" ? decisions.length : 1;
    if (way === "recent") for (let seen = 0, k = decisions.length - 1; k >= first; k--) if ((seen += decisions[k].cells.length) > TAIL) first = k + 1;
    for (let k = first; k < decisions.length; k++) {
      const age = decisions.length - 1 - k;
      const strength = way === "whole" ? Math.max(0.62, fade(age, true)) : fade(age, false);
      // Sets hang together by one line, the shortest between them; each of their squares bears a knot.
      const pairs = decisions[k].cells.flatMap((to) => decisions[k - 1].cells.map((from) => [from, to]));
      const near = pairs.reduce((best, p) => (!best || gap(p) < gap(best) ? p : best), null);
      for (const cell of decisions[k].cells) {
        const id = `${decisions[k].n} ${cell}`;
        let link = this.links.get(id);
        if (!link && heard(state.cells[cell])) this.links.set(id, (link = { group: make("g", {}, ...votes(state.cells[cell], place(cell), w)) }));
        if (!link) {
          const [x, y] = place(cell);
          const [x1, y1] = near && near[1] === cell ? place(near[0]) : [x, y];
          const line = (name) => make("line", { x1, y1, x2: x, y2: y, class: name });
          link = { group: make("g", {}, near?.[1] === cell && line("uf-casing"), near?.[1] === cell && line("uf-leg"), make("circle", { cx: x, cy: y, r: 0.7, class: "uf-stop" })) };
          this.links.set(id, link);
        }
        link.used = true;
        link.group.setAttribute("style", `--leg:${orderColour(k, total)};opacity:${strength.toFixed(3)}`);
      }
    }
    for (const [id, link] of this.links) if (!link.used && !over) this.links.delete(id);
    const groups = [...this.links.values()].filter((l) => l.used).map((l) => l.group);
    this.frame.path.replaceChildren(...groups);
  }

  #expected(state) {
    return this.player.lane(this.id).expected ?? state.blanks;
  }

  // ---- tape: the squares in the order in which they were chosen, the picture as the sentence that it is to the model

  #drawTape(state, w) {
    const n = state.cells.length;
    const order = [];
    state.decisions.forEach((d, k) => d.cells.forEach((cell) => order.push({ cell, k })));
    const row = Math.min(this.row, n);
    const rows = Math.ceil(n / row);
    const s = Math.floor(Math.min(this.reach, 28 * row) / row);
    const key = `${state.decisions.length} ${this.shot?.n} ${this.noise?.n} ${this.pointed} ${s} ${this.waiting.size} ${Boolean(state.done)}`;
    if (key === this.tapeKey) return;
    this.tapeKey = key;
    this.order = order;
    this.pitch = s;
    const ratio = Math.min(globalThis.devicePixelRatio || 1, 2);
    const tall = s + 6;
    this.tall = tall;
    const { tape } = this;
    tape.width = Math.round(s * row * ratio);
    tape.height = Math.round(tall * rows * ratio);
    tape.style.width = `${s * row}px`;
    tape.style.height = `${tall * rows}px`;
    const pen = tape.getContext("2d");
    const colour = (name) => this.ink.get(name);
    pen.scale(ratio, ratio);
    pen.imageSmoothingQuality = "high";
    const bitmap = this.shots.bitmap(this.shot);
    const ramp = [colour("order-0"), colour("order-1"), colour("order-2")];
    const total = Math.max(state.decisions.length, state.done ? 0 : this.#expected(state), 2);
    for (let i = 0; i < n; i++) {
      const x = (i % row) * s;
      const y = Math.floor(i / row) * tall;
      const own = order[i];
      pen.strokeStyle = colour("line");
      pen.lineWidth = 1;
      if (!own) {
        pen.strokeRect(x + 0.5, y + 0.5, s - 1, s - 1);
        continue;
      }
      const { cell, k } = own;
      if (bitmap && !this.waiting.has(cell)) {
        const part = bitmap.width / w;
        pen.drawImage(bitmap, (cell % w) * part, Math.floor(cell / w) * part, part, part, x, y, s, s);
      } else if (!this.sheet?.draw(pen, state.cells[cell].value, x, y, s)) {
        pen.fillStyle = colour("committed-fill");
        pen.fillRect(x, y, s, s);
      }
      // One decision is one stroke: squares that were chosen together share it.
      const joined = order[i + 1]?.k === k && (i + 1) % row;
      pen.fillStyle = mix(ramp, k / (total - 1));
      pen.fillRect(x, y + s + 1, joined ? s : s - 1, 2);
      if (cell === this.pointed) {
        pen.strokeStyle = colour("ink");
        pen.lineWidth = 2;
        pen.strokeRect(x + 1, y + 1, s - 2, s - 2);
      }
    }
  }

  #tapeCell(event) {
    const box = this.tape.getBoundingClientRect();
    const i = Math.floor((event.clientY - box.top) / this.tall) * this.row + Math.floor((event.clientX - box.left) / this.pitch);
    return this.order?.[i]?.cell ?? null;
  }

  #overTape(event) {
    const cell = this.#tapeCell(event);
    if (cell !== this.pointed) this.player.emit("point", cell === null ? null : { lane: this.id, cell });
  }

  // ---- time: the backbone against its head

  #drawShares(state) {
    const lane = this.player.lane(this.id);
    const heads = (state.nets ?? []).filter((net) => net.role === "head");
    this.time.hidden = !heads.length;
    if (!heads.length) return;
    if (this.sums.at > state.n || this.sums.events !== lane.events) this.sums = { at: -1, ms: new Map(), events: lane.events };
    for (let i = this.sums.at + 1; i <= state.n; i++) {
      const event = lane.events[i];
      if (event?.kind === "forward") this.sums.ms.set(event.net, (this.sums.ms.get(event.net) ?? 0) + (event.ms ?? 0));
    }
    this.sums.at = state.n;
    const head = heads.reduce((a, net) => a + (this.sums.ms.get(net.id) ?? 0), 0);
    const rest = (state.nets ?? []).filter((net) => ["target", "draft"].includes(net.role)).reduce((a, net) => a + (this.sums.ms.get(net.id) ?? 0), 0);
    const key = `${Math.round(head)} ${Math.round(rest)}`;
    if (key === this.shareKey) return;
    this.shareKey = key;
    const total = Math.max(head + rest, 1e-9);
    this.time.replaceChildren(
      make("div", { class: "uf-share-bar", "aria-hidden": "true" }, make("i", { "data-part": "backbone", style: `width:${(100 * rest) / total}%` }), make("i", { "data-part": "head", style: `width:${(100 * head) / total}%` })),
      make("p", {}, ...[["backbone", rest], ["head", head]].map(([part, ms]) => make("span", { "data-part": part }, make("i", {}), this.t(`picture.time.${part}`, { n: Math.round(ms) })))));
  }

  // ---- pointing

  /** Outline a square and its place on the tape. */
  point(cell) {
    if (cell === this.pointed) return;
    if (this.pointed !== null) mark(this.frame.square(this.pointed), "data-pointed", false);
    this.pointed = cell;
    if (cell !== null) mark(this.frame.square(cell), "data-pointed", true);
    this.#drawTape(this.state, this.state.canvas.shape[1]);
    this.#say();
  }

  light(what) {
    const cells = what ? new Set(what.cells) : null;
    mark(this.root, "data-lit", Boolean(what));
    this.frame.squares.forEach((square, i) => mark(square, "data-seen", Boolean(cells?.has(i))));
  }

  #say() {
    const cell = this.pointed;
    mark(this.legend, "data-off", cell !== null);
    write(this.said, cell === null ? "" : sentence(this.#spot(cell, this.state.cells[cell])));
  }

  #choose(cell) {
    if (this.settings.pickBlanks && cell !== null) return this.pick(cell);
    const { selection } = this.player;
    if (cell === null || (selection?.lane === this.id && selection.cell === cell)) this.player.select(null);
    else this.player.select(this.id, cell);
  }
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Did neighbours give their opinion of this cell?
const heard = (cell) => cell.dists?.left || cell.dists?.above;

/** An arrow from each neighbour that gave an opinion: whole where its favourite was chosen, broken where not. */
function votes(cell, [x, y], w) {
  const arrows = {
    left: x > 5 && `M${x - 7.5} ${y}H${x - 2}M${x - 3.7} ${y - 1.7}L${x - 2} ${y}L${x - 3.7} ${y + 1.7}`,
    above: y > 5 && `M${x} ${y - 7.5}V${y - 2}M${x - 1.7} ${y - 3.7}L${x} ${y - 2}L${x + 1.7} ${y - 3.7}`,
  };
  return Object.entries(arrows).flatMap(([name, d]) => {
    if (!d || !cell.dists[name]) return [];
    const lost = cell.dists[name].top[0]?.[0] !== cell.value;
    return ["uf-casing", "uf-leg"].map((part) => make("path", { d, class: `${part} uf-vote`, "data-lost": lost }));
  });
}

const far = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/** A colour of the order ramp for a canvas pen: share 0..1 between three #rrggbb colours. */
export function mix(ramp, share) {
  const x = Math.min(Math.max(share, 0), 1) * 2;
  const [a, b, part] = x < 1 ? [ramp[0], ramp[1], x] : [ramp[1], ramp[2], x - 1];
  return `color-mix(in oklab, ${b} ${Math.round(part * 100)}%, ${a})`;
}

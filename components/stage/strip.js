// The stage for a word that is read off a picture: the strip with the places that a letter was looked for glowing on it,
// under it a line that marks where each letter truly stands, and a row of slots into which letters fall. From each slot a
// thread leads to the place that it looked at most. Beside them the letters that were counted on the side, as beads.

import { make, short, words } from "../player/words.js";
import { Head } from "./head.js";
import { laneStage } from "./lanes.js";
import { mark } from "./picture.js";
import { halves } from "./series.js";
import { orderColour } from "./thread.js";

const STOP = "end";
const SIGN = "\u220e";
const LEGEND = ["look", "true", "slot", "wrong"];
const LEAST = 3; // a strip narrower than three times its pixels takes all the width that there is
const MOST = 12;
const ASIDE = 15.5; // rem beside the strip, for the beads
const ROOM = { laptop: 19.6, projector: 18.1, lecture: 20.9 }; // rem above and below the lanes: head of the page, note, timeline
const LANE = 5.1; // rem of a lane beside its strip: its head, what is printed below misread letters, and the gap
const BEADS = 7.9; // rem of the beads and the legend, which are below the lanes where these stand side by side
const GAP = 2; // rem between them
const BELOW = 0.156; // of a lane, by the width of its strip: the threads and the slots
const FAINT = 0.06; // of the strongest patch: what is looked at less does not glow
const LIT = 0.5; // a slot that is more likely in use than not
const GONE = 0.5; // letters expected less often than this are not on the beads

/**
 * Draw the lanes of a player that read a strip.
 * options: lanes (ids), others ({lane: {cell: value}}: what stands there in the other future).
 * Returns {draw, set(options), empty(), destroy}.
 */
export function mount(element, player, { strings = {}, options = {} } = {}) {
  const t = words(strings);
  const stack = make("div", { class: "uf-strips-box" });
  const legend = make("p", { class: "uf-legend" }, ...LEGEND.map((k) => make("span", { "data-look": k }, make("i", {}), t(`strip.legend.${k}`))));
  element.replaceChildren(stack, legend);

  /** In as many columns as lets all lanes stand in view as large as can be: one, or as many as make them larger. */
  function fit(lanes) {
    const [h, w] = player.events(lanes.keys().next().value)[0].canvases[0].pixels;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const width = element.clientWidth;
    const lecture = document.documentElement.classList.contains("lecture");
    const tall = innerHeight - ROOM[lecture ? "lecture" : innerWidth >= 1800 ? "projector" : "laptop"] * rem;
    const aside = width - ASIDE * rem >= LEAST * w ? ASIDE : 0;
    const halves = (room) => Math.floor((2 * room) / w) / 2;
    const fits = Array.from({ length: lanes.size }, (_, i) => {
      const columns = i + 1;
      const rows = Math.ceil(lanes.size / columns);
      const wide = halves(columns > 1 ? (width + GAP * rem) / columns - GAP * rem : width - aside * rem);
      const high = halves(((tall - (columns > 1 ? BEADS * rem : 0)) / rows - LANE * rem) / (h / w + BELOW));
      return { columns, high, times: Math.min(wide, Math.max(high, columns > 1 && rows === 1 ? 0 : LEAST), MOST) };
    });
    const { columns, times } = fits.reduce((best, own) => (own.times > best.times || (own.times === best.times && own.high > best.high && best.high < LEAST) ? own : best));
    const wide = times < LEAST ? Math.min(width, LEAST * w) : times * w;
    element.style.setProperty("--wide", `${wide}px`);
    element.style.setProperty("--shape", h / w);
    element.style.setProperty("--columns", columns);
    element.toggleAttribute("data-columns", columns > 1);
    element.toggleAttribute("data-beside", aside > 0 && columns === 1);
    return [wide];
  }

  /** Up and down the arrows lead to the same slot of the lane above or below. */
  function walk(id, by, cell) {
    const all = [...stage.lanes.values()];
    all[all.findIndex((lane) => lane.id === id) + by]?.focus(cell);
  }

  const stage = laneStage(element, player, {
    kind: "uf-reading", strings, settings: { ...options }, fit,
    shows: (canvas) => canvas.kind === "strip",
    lane: (tools) => new StripLane({ ...tools, walk }),
    put: (roots) => stack.replaceChildren(...roots),
  });
  return {
    ...stage,
    destroy() {
      stage.destroy();
      for (const name of ["data-beside", "data-columns"]) element.removeAttribute(name);
    },
  };
}

class StripLane {
  constructor({ id, player, t, settings, shots, ink, walk }) {
    Object.assign(this, { id, player, t, settings, shots, ink, walk });
    this.head = new Head(t, player, id);
    this.strip = make("canvas", { class: "uf-strip", role: "img" });
    this.svg = make("svg", { class: "uf-sights", "aria-hidden": "true" });
    this.row = make("div", { class: "uf-slots", role: "row" });
    this.grid = make("div", { class: "uf-slots-grid", role: "grid" }, this.row);
    this.beads = make("ul", { class: "uf-beads" });
    this.abacus = make("figure", { class: "uf-abacus" }, make("figcaption", {}, t("strip.counts")), this.beads);
    this.root = make("section", { class: "uf-lane", "data-lane": id, "data-kind": "strip" }, this.head.root,
      make("div", { class: "uf-reader" }, make("div", { class: "uf-reader-page" }, this.strip, this.svg, this.grid), this.abacus));
    this.views = [];
    this.renew();
    this.row.addEventListener("click", (e) => this.#click(e));
    this.row.addEventListener("keydown", (e) => this.#key(e));
    this.row.addEventListener("pointerover", (e) => this.#over(e.target));
    this.row.addEventListener("pointerleave", () => player.emit("point", null));
    this.row.addEventListener("focusin", (e) => { this.#roam(e.target.closest(".uf-slot")); this.#over(e.target); });
    this.row.addEventListener("focusout", () => player.emit("point", null));
  }

  /** Another run: nothing of the old one is known any more. */
  renew() {
    this.pointed = null;
    this.sums = new Map();
    this.retheme();
  }

  retheme() {
    this.painted = this.drawn = this.counted = null;
  }

  resize(wide) {
    this.wide = wide;
    this.retheme();
  }

  empty() {
    this.head.empty();
    this.strip.width += 0; // wipes it
    mark(this.strip, "data-empty", true);
    this.svg.replaceChildren();
    this.beads.replaceChildren();
    for (const view of this.views) this.#drawSlot(view, { state: "masked" }, {});
    this.retheme();
  }

  draw(quick) {
    const { player, t } = this;
    const state = player.state(this.id);
    this.state = state;
    this.#lay(state);
    const { printed } = state.canvas;
    const read = state.cells.filter((cell) => cell.value != null && cell.value !== STOP).length;
    const shown = this.#shown(state);
    const said = (n) => t(n === 1 ? "strip.read.one" : "strip.read", { n });
    mark(this.root, "data-done", Boolean(state.done));
    this.head.draw(state, {
      said: said(read), widest: said(99), most: Math.max(player.mostCalls, player.ended ? 0 : state.cells.length, 1),
      unit: t(state.calls === 1 ? "stage.call" : "stage.calls"), more: this.#tell(shown),
    });
    mark(this.grid, "aria-label", t("strip.slots", { title: player.title(this.id), n: state.cells.length }));
    mark(this.strip, "aria-label", t("strip.label", { printed }));
    this.#paint(state, shown);
    this.#drawSights(state, shown);
    this.#drawSlots(state, quick);
    this.#drawBeads(state);
  }

  // ---- which look is shown

  /** Cells whose look lies on the strip: the one that is pointed at or held, else all that were decided last. */
  #shown(state) {
    const { selection } = this.player;
    const held = this.pointed ?? (selection?.lane === this.id ? selection.cell : null);
    const cells = held !== null ? [held] : newest(state);
    return { held, cells: cells.filter((cell) => this.#look(state, cell)) };
  }

  #tell({ held, cells }) {
    if (held !== null && !cells.length) return "";
    return cells.length > 1 ? this.t("strip.look.all") : cells.length ? this.t("strip.look", { n: cells[0] + 1 }) : "";
  }

  /** Where a slot looked: {grid: [rows, columns], shares, peak: [x, y] in strip pixels}; null before it did. */
  #look(state, cell) {
    const own = this.shots.list(this.id);
    for (let i = own.length - 1; i >= 0; i--) {
      const event = own[i];
      if (event.name !== "look" || event.n > state.n || cell < event.level || cell >= event.level + event.shape[0]) continue;
      const key = `${event.n} ${cell}`;
      if (!this.sums.has(key)) this.sums.set(key, read(halves(event), cell - event.level, state.canvas.pixels));
      return this.sums.get(key);
    }
    return null;
  }

  // ---- the strip and what glows on it

  #paint(state, { cells }) {
    const shot = this.shots.latest(this.id, ["strip"], state.n);
    const bitmap = this.shots.bitmap(shot);
    if (shot && !bitmap) return; // on its way: what stands there stays
    const [h, w] = state.canvas.pixels;
    const ratio = Math.min(globalThis.devicePixelRatio || 1, 2);
    const [wide, high] = [Math.round(this.wide * ratio), Math.round((this.wide * h * ratio) / w)];
    const looks = cells.map((cell) => this.#look(state, cell));
    const key = `${shot?.n ?? ""} ${wide} ${cells.join()} ${looks.length && state.n >= 0 ? this.#stamp(state, cells) : ""} ${this.player.version}`;
    if (key === this.painted) return;
    this.painted = key;
    mark(this.strip, "data-empty", !bitmap);
    mark(this.strip, "data-looks", cells.join(" ") || null);
    this.strip.width = wide;
    this.strip.height = high;
    if (!bitmap) return;
    const pen = this.strip.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, wide, high);
    if (!looks.length) return;
    // Under dark print the ground turns gold, under bright print it is lit up: both stay legible.
    const dark = darkPrint(bitmap);
    pen.globalCompositeOperation = dark ? "overlay" : "screen";
    pen.fillStyle = this.ink.get(dark ? "glow-under-dark" : "glow-under-bright");
    const [rows, columns] = looks[0].grid;
    const [x, y] = [wide / columns, high / rows];
    const strongest = looks[0].shares.map((_, i) => Math.max(...looks.map((look) => look.shares[i] / look.most)));
    strongest.forEach((share, i) => {
      if (share < FAINT) return;
      pen.globalAlpha = share;
      pen.fillRect(Math.round((i % columns) * x), Math.round(Math.floor(i / columns) * y), Math.ceil(x), Math.ceil(y));
    });
    pen.globalAlpha = 1;
    pen.globalCompositeOperation = "source-over";
  }

  #stamp(state, cells) {
    return cells.map((cell) => state.cells[cell]?.decidedAt ?? "").join();
  }

  // ---- true places, and threads from the slots to where they looked

  #drawSights(state, { held }) {
    const { spans, pixels: [, w] } = state.canvas;
    const tall = this.#height();
    const scale = this.wide / w;
    const looks = state.cells.map((cell, i) => (cell.state === "committed" ? this.#look(state, i) : null));
    const key = `${this.wide} ${tall} ${held} ${looks.map((look) => look?.peak.join() ?? "").join(" ")}`;
    if (key === this.drawn) return;
    this.drawn = key;
    mark(this.svg, "viewBox", `0 0 ${this.wide} ${tall}`);
    const pitch = this.wide / state.cells.length;
    const true_ = spans.map(([left, right], i) => make("rect", {
      class: "uf-true", x: (left * scale).toFixed(1), y: 4, width: Math.max((right - left) * scale - 2, 3).toFixed(1), height: 4, rx: 2, style: `fill:${orderColour(i, spans.length)}`,
    }));
    const sights = looks.flatMap((look, i) => {
      if (!look) return [];
      const [from, to] = [(i + 0.5) * pitch, look.peak[0] * scale];
      const stop = state.cells[i].value === STOP;
      const colour = stop ? "var(--masked)" : orderColour(Math.min(i, spans.length - 1), spans.length);
      const bow = (tall - 12) * 0.55;
      return [make("g", { class: "uf-sight-line", "data-cell": i, "data-faint": held !== null && held !== i, "data-stop": stop, style: `--leg:${colour}` },
        make("path", { d: `M${from.toFixed(1)} ${tall} C${from.toFixed(1)} ${(tall - bow).toFixed(1)} ${to.toFixed(1)} ${(12 + bow).toFixed(1)} ${to.toFixed(1)} 12` }),
        make("circle", { cx: to.toFixed(1), cy: 12, r: held === i ? 3.5 : 2.5 }))];
    });
    this.svg.replaceChildren(...true_, ...sights);
  }

  /** Of the room between strip and slots, which follows the size of the letters. */
  #height() {
    return Math.round(Math.min(Math.max(this.wide / 13, 32), 72));
  }

  // ---- slots

  #lay(state) {
    const n = state.cells.length;
    if (this.views.length === n) return;
    this.views = Array.from({ length: n }, (_, i) => {
      const label = make("span", { class: "uf-text" });
      const sign = make("span", { class: "uf-mark", "aria-hidden": "true" });
      const under = make("span", { class: "uf-under", "aria-hidden": "true" });
      const box = make("span", { class: "uf-box" }, label, sign);
      return { root: make("span", { class: "uf-cell uf-slot", role: "gridcell", tabindex: i ? "-1" : "0", "data-cell": i }, box, under), box, label, sign, under, key: "" };
    });
    this.root.style.setProperty("--slots", n);
    this.row.replaceChildren(...this.views.map((view) => view.root));
  }

  #drawSlots(state, quick) {
    const { printed } = state.canvas;
    const there = state.measures.there;
    const fresh = new Set(state.done ? [] : newest(state));
    const stop = state.cells.findIndex((cell) => cell.value === STOP);
    const { selection } = this.player;
    state.cells.forEach((cell, i) => {
      const truth = printed[i] ?? (i === printed.length ? STOP : null);
      const behind = (stop >= 0 && i > stop) || (state.done && cell.value == null);
      const held = cell.state === "committed";
      this.#drawSlot(this.views[i], cell, {
        quick, behind, truth, sure: held ? null : there?.values?.[i] ?? null, fresh: fresh.has(i),
        wrong: held ? cell.value !== truth : behind && truth !== null && truth !== STOP,
        other: this.settings.others?.[this.id]?.[i] ?? null,
        chosen: selection?.lane === this.id && selection.cell === i,
      });
    });
  }

  #drawSlot(view, cell, { quick = true, behind = false, truth = null, sure = null, fresh = false, wrong = false, other = null, chosen = false }) {
    const key = `${cell.n} ${cell.value} ${cell.state} ${behind} ${sure} ${fresh} ${wrong} ${other} ${chosen}`;
    if (view.key === key) return;
    view.key = key;
    const { root } = view;
    const held = cell.state === "committed";
    const differs = held && other != null && other !== cell.value && cell.origin !== "forced";
    root.dataset.state = held ? "committed" : behind ? "behind" : sure >= LIT ? "lit" : "masked";
    mark(root, "data-fresh", fresh);
    mark(root, "data-end", cell.value === STOP);
    mark(root, "data-wrong", wrong);
    mark(root, "data-forced", cell.origin === "forced");
    mark(root, "data-other", differs);
    mark(root, "data-there", sure !== null && !behind);
    if (sure !== null) view.box.style.setProperty("--sure", sure.toFixed(3));
    mark(root, "aria-selected", String(chosen));
    const letter = !held ? "" : sign(cell.value);
    const fell = letter && view.label.textContent !== letter;
    if (view.label.textContent !== letter) view.label.textContent = letter;
    view.sign.textContent = cell.origin === "forced" ? "\u25c6" : "";
    view.under.textContent = wrong && truth !== null ? sign(truth) : differs ? sign(other) : "";
    root.setAttribute("aria-label", this.#name(Number(root.dataset.cell), cell, { behind, truth, sure, wrong, other: differs ? other : null }));
    if (fell && !quick) view.label.animate([{ transform: "translateY(-1.1em)", opacity: 0 }, { transform: "none", opacity: 1 }], { duration: 220, easing: "cubic-bezier(.2, 0, 0, 1)" });
  }

  #name(i, cell, { behind, truth, sure, wrong, other }) {
    const { t } = this;
    const said = (value) => (value === STOP ? t("strip.end") : value);
    const parts = [t("strip.slot", { n: i + 1 })];
    if (cell.state !== "committed") {
      parts.push(t(behind ? "strip.behind" : "strip.empty"));
      if (sure !== null && !behind) parts.push(t("strip.there", { p: short(sure) }));
    } else {
      parts.push(t("cell.value", { value: said(cell.value) }));
      if (cell.origin === "forced") parts.push(t("strip.forced"));
      if (cell.chance != null) parts.push(t("cell.p", { p: short(cell.chance) }));
      parts.push(t("cell.call", { n: cell.call }));
    }
    if (wrong) parts.push(truth === null ? t("strip.nothing") : t("strip.printed", { letter: said(truth) }));
    if (other != null) parts.push(t("strip.other", { letter: said(other) }));
    return parts.join(", ");
  }

  // ---- the letters counted on the side

  #drawBeads(state) {
    const counts = halves(this.shots.latest(this.id, ["counts"], state.n));
    const told = this.player.events(this.id).some((event) => event.kind === "preview" && event.name === "counts");
    this.abacus.hidden = !told; // most readers do not count
    this.beads.style.setProperty("--letters", new Set(state.canvas.printed).size);
    const key = counts ? String(state.previews.counts?.n) : "";
    if (key === this.counted) return;
    this.counted = key;
    mark(this.abacus, "data-on", Boolean(counts));
    this.beads.replaceChildren(...(counts ? counted(counts) : []).map(({ letter, most, p }) => make("li", { "data-letter": letter, "aria-label": this.t("strip.bead", { letter, n: most, p: short(p) }) },
      make("b", { "aria-hidden": "true" }, letter), make("span", { "aria-hidden": "true", style: `opacity:${(0.25 + 0.75 * p).toFixed(2)}` }, ...Array.from({ length: most }, () => make("i", {}))))));
  }

  // ---- pointing and walking

  point(cell) {
    if (cell === this.pointed) return;
    this.pointed = cell;
    if (!this.state) return;
    const shown = this.#shown(this.state);
    this.#paint(this.state, shown);
    this.#drawSights(this.state, shown);
    this.head.more.textContent = this.#tell(shown);
  }

  light(what) {
    const cells = what ? new Set(what.cells) : null;
    mark(this.root, "data-lit", Boolean(what));
    this.views.forEach((view, i) => mark(view.root, "data-seen", Boolean(cells && (cells.has(i) || what.cell === i))));
  }

  focus(cell) {
    this.#roam(this.views[cell].root);
    this.views[cell].root.focus();
  }

  #over(target) {
    const slot = target.closest?.(".uf-slot");
    this.player.emit("point", slot ? { lane: this.id, cell: Number(slot.dataset.cell) } : null);
  }

  #roam(root) {
    for (const view of this.views) mark(view.root, "tabindex", view.root === root ? "0" : "-1");
  }

  #click(event) {
    const slot = event.target.closest(".uf-slot");
    if (slot) this.#choose(Number(slot.dataset.cell));
  }

  #choose(cell) {
    const { selection } = this.player;
    this.#roam(this.views[cell].root);
    if (selection?.lane === this.id && selection.cell === cell) this.player.select(null);
    else this.player.select(this.id, cell);
  }

  #key(event) {
    const slot = event.target.closest(".uf-slot");
    if (!slot || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const at = Number(slot.dataset.cell);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: this.views.length - 1 }[event.key];
    if (to !== undefined) this.focus(Math.min(Math.max(to, 0), this.views.length - 1));
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") this.walk(this.id, event.key === "ArrowDown" ? 1 : -1, at);
    else if (event.key === "Enter") this.#choose(at);
    else if (event.key === "Escape") this.player.select(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** All that the last call decided, forced or not. */
const newest = ({ decisions }) => decisions.filter(({ call }) => call === decisions.at(-1).call).flatMap(({ cells }) => cells);

const sign = (value) => (value === STOP ? SIGN : value ?? "");

/** One slot's look, and the place where it is strongest: the middle of the best patch, drawn by the patches beside it. */
function read(array, slot, [h, w]) {
  if (!array) return null;
  const [, rows, columns] = array.shape;
  const shares = Array.from({ length: rows * columns }, (_, i) => array.at(slot, Math.floor(i / columns), i % columns));
  const best = shares.indexOf(Math.max(...shares));
  const [row, column] = [Math.floor(best / columns), best % columns];
  let sum = 0;
  let x = 0;
  for (let c = Math.max(column - 1, 0); c <= Math.min(column + 1, columns - 1); c++) {
    sum += shares[row * columns + c];
    x += shares[row * columns + c] * (c + 0.5);
  }
  return { grid: [rows, columns], shares, most: Math.max(shares[best], 1e-6), peak: [(x / Math.max(sum, 1e-6)) * (w / columns), (row + 0.5) * (h / rows)] };
}

/** The letters that are expected at least GONE times: [{letter, most: the likeliest count above zero, p: its chance}]. */
function counted(array) {
  const [classes, most] = array.shape;
  const out = [];
  for (let c = 1; c < classes; c++) { // the first class is the end
    const p = Array.from({ length: most }, (_, k) => array.at(0, c, k));
    const likeliest = p.indexOf(Math.max(...p.slice(1)), 1);
    if (p.reduce((sum, x, k) => sum + k * x, 0) >= GONE) out.push({ letter: String.fromCharCode(96 + c), most: likeliest, p: p[likeliest] });
  }
  return out;
}

const prints = new WeakMap();

/** Is a strip printed in dark on bright? Print takes the smaller part of it: it pulls the mean away from the median. */
function darkPrint(bitmap) {
  if (!prints.has(bitmap)) {
    const { width, height } = bitmap;
    const pen = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
    pen.drawImage(bitmap, 0, 0);
    const grey = pen.getImageData(0, 0, width, height).data.filter((_, i) => i % 4 === 0).sort();
    prints.set(bitmap, grey.reduce((sum, v) => sum + v, 0) / grey.length < grey[grey.length >> 1]);
  }
  return prints.get(bitmap);
}

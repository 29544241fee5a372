// The stage for words: each lane is a page of a book. Blanks keep their width, every word has a second line for
// the draft that was struck out, so nothing moves while the model writes.

import { expand } from "../player/player.js";
import { isBreak, isEnd, isPad, isPunctuation, make, shown, spelled } from "../player/words.js";
import { Head } from "./head.js";
import { laneStage } from "./lanes.js";
import { fade, orderColour, route } from "./thread.js";
import { Tree } from "./tree.js";

const MARKS = { proposed: "?", accepted: "\u2713", rejected: "\u2715", withdrawn: "\u21ba" };

/**
 * Draw the text lanes of a player.
 * options: lanes (ids; default all text lanes), pickBlanks (false; "order": their sequence counts, and `value` has it),
 * blanks (cells picked at first), others ({lane: {cell: word}}: what stands there in the other future).
 * Returns {draw, set(options), destroy}.
 */
export function mount(element, player, { strings, options = {} } = {}) {
  const stage = laneStage(element, player, {
    kind: "uf-books", strings, settings: { pickBlanks: false, ...options }, anew: true,
    shows: (canvas) => canvas.kind === "tokens",
    lane: (tools) => new Page(tools),
    fit: () => [element.clientWidth], // only a change of width moves words to other lines; height changes are our own
  });
  document.fonts?.ready.then(() => {
    for (const page of stage.lanes.values()) page.resize();
    stage.later();
  });
  return {
    draw: stage.draw,
    set(change) {
      Object.assign(stage.settings, change);
      if ("blanks" in change || "pickBlanks" in change) for (const page of stage.lanes.values()) page.repick();
      stage.draw();
    },
    destroy: stage.destroy,
  };
}

class Page {
  constructor({ id, player, t, settings }) {
    Object.assign(this, { id, player, t, settings });
    this.views = [];
    this.sure = new Map();
    this.home = 0;
    this.stale = true;
    this.reserve = 0;
    this.threadKey = "";
    this.links = new Map();
    this.root = make("section", { class: "uf-lane", "data-lane": id });
    this.head = new Head(t, player, id);
    this.svg = make("svg", { class: "uf-thread", "aria-hidden": "true" });
    this.row = make("div", { role: "row", class: "uf-words" });
    this.grid = make("div", { role: "grid", class: "uf-grid" }, this.row);
    this.page = make("div", { class: "uf-page" }, this.svg, this.grid);
    this.root.append(this.head.root, this.page);
    this.grid.addEventListener("click", (e) => this.#click(e));
    this.grid.addEventListener("keydown", (e) => this.#key(e));
    this.grid.addEventListener("focusin", (e) => this.#roam(e.target.closest(".uf-cell")));
    this.repick();
  }

  repick() {
    const first = this.settings.blanks;
    this.picked = first ? new Set(first) : null;
  }

  resize() {
    this.stale = true;
  }

  draw() {
    const { player, t, settings } = this;
    // Blanks are picked in the finished story, whatever moment the player shows.
    const state = settings.pickBlanks ? player.stateAt(this.id, player.events(this.id).length - 1) : player.state(this.id);
    this.root.toggleAttribute("data-picking", Boolean(settings.pickBlanks));
    this.root.toggleAttribute("data-ordering", settings.pickBlanks === "order");
    this.root.toggleAttribute("data-drafts", player.lane(this.id).draftNets.size > 0);
    this.root.toggleAttribute("data-done", Boolean(state.done));
    const grid = t("stage.grid", { title: player.title(this.id), n: state.cells.length });
    if (this.grid.getAttribute("aria-label") !== grid) this.grid.setAttribute("aria-label", grid);
    if (settings.pickBlanks === "order") this.picked ??= new Set(/^\d/.test(settings.value) ? settings.value.split(",").map(Number) : []);
    else if (settings.pickBlanks && !this.picked) {
      this.picked = new Set(state.cells.flatMap((cell, i) => (cell.blank ? [i] : [])));
    }
    this.#drawHead(state);
    this.#drawCells(state);
    if (this.stale) this.#fit();
    const { widest } = player.lane(this.id);
    if (widest && !this.tree) {
      this.root.append((this.tree = new Tree(t)).root);
      this.grid.style.removeProperty("--rows");
      this.reserveKey = null;
    }
    this.#reserveHeight(state);
    this.#drawThread(state);
    this.tree?.draw(state, widest);
  }

  #drawHead(state) {
    const { t, player } = this;
    const written = (n) => (state.open ? t(n === 1 ? "stage.written.one" : "stage.written", { n }) : t("stage.blanks", { n, m: state.blanks }));
    this.head.draw(state, {
      said: this.settings.pickBlanks && this.picked ? t("stage.picked", { n: this.picked.size }) : written(state.written),
      widest: written(state.open ? 99 : state.blanks),
      most: Math.max(player.mostCalls, player.ended || state.open ? 0 : state.blanks, 1),
      unit: t(state.calls === 1 ? "stage.call" : "stage.calls"),
      more: state.draftCalls ? t("stage.draftcalls", { n: state.draftCalls }) : this.#steps(state),
    });
  }

  /** Where steps and calls are not the same thing, both are counted. */
  #steps({ phase }) {
    return phase?.unit === "step" && phase.of ? this.t("stage.steps", { n: phase.index + 1, m: phase.of }) : "";
  }

  // ---- cells

  /** How sure the latest call was of each cell that is still hidden: cell -> chance of its candidate. */
  #readSureness(state) {
    const measure = this.settings.pickBlanks ? null : state.measures.confidence;
    if (this.measure === measure) return;
    this.measure = measure;
    this.sure = new Map(expand(measure?.cells).map((cell, i) => [cell, measure.values[i]]));
  }

  #visible(state) {
    if (!state.open) return state.cells.length;
    let last = -1;
    state.cells.forEach((cell, i) => { if (cell.state !== "open" && !(cell.state === "withdrawn" && cell.touched !== state.calls)) last = i; });
    return last + 1;
  }

  #drawCells(state) {
    const count = this.#visible(state);
    const form = (c, i) => (c.blank && !state.open ? "_" : isBreak(held(c, state)) ? "/" : hugs(held(c, state), state) ? "," : i);
    const key = state.open && !state.canvas?.spaced ? `open ${count}` : state.cells.slice(0, count).map(form).join(" ");
    const focus = this.player.selection;
    this.#readSureness(state);
    while (this.views.length < count) this.views.push(this.#makeCell(this.views.length));
    for (let i = 0; i < count; i++) this.#drawCell(this.views[i], state.cells[i], state, focus?.lane === this.id && focus.cell === i);
    if (this.flow !== key) {
      this.flow = key;
      this.#lay(state, count);
    }
  }

  /** Put the cells into the line, punctuation together with the word before it. */
  #lay(state, count) {
    const groups = [];
    for (let i = 0; i < count; i++) {
      const cell = state.cells[i];
      const flows = !cell.blank || state.open;
      if (flows && groups.length && hugs(held(cell, state), state)) groups[groups.length - 1].push(this.views[i].root);
      else groups.push([this.views[i].root]);
      // what follows a line break begins a line, and a word of its own
      if (flows && isBreak(held(cell, state))) groups.push(null, []);
    }
    const filled = groups.filter((roots) => roots === null || roots.length);
    // Unchanged groups stay in the document: a page that grows moves only its last word.
    const nodes = filled.map((roots) => {
      if (!roots) return make("span", { class: "uf-line-end", role: "presentation" });
      const old = roots[0].parentElement;
      if (old?.classList.contains("uf-word") && old.children.length === roots.length && roots.every((r, i) => old.children[i] === r)) return old;
      return make("span", { class: "uf-word", role: "presentation" }, ...roots);
    });
    if (state.open) nodes.push(this.caret ??= make("span", { class: "uf-caret", "aria-hidden": "true" }));
    nodes.forEach((node, i) => { if (this.row.children[i] !== node) this.row.insertBefore(node, this.row.children[i] ?? null); });
    while (this.row.children.length > nodes.length) this.row.lastChild.remove();
    this.stale = true;
    this.#roam(null);
  }

  #makeCell(i) {
    const label = make("span", { class: "uf-text" });
    const mark = make("span", { class: "uf-mark", "aria-hidden": "true" });
    const box = make("span", { class: "uf-box" }, label, mark);
    const struck = make("span", { class: "uf-struck", "aria-hidden": "true" });
    const badge = make("span", { class: "uf-badge", "aria-hidden": "true" });
    const root = make("span", { class: "uf-cell", role: "gridcell", tabindex: i === this.home ? "0" : "-1", "data-cell": i }, box, struck, badge);
    return { root, box, label, mark, struck, badge, cell: null, key: "" };
  }

  #drawCell(view, cell, state, chosen) {
    const picking = this.settings.pickBlanks;
    const i = Number(view.root.dataset.cell);
    const picked = picking && this.picked.has(i);
    const turn = picked && picking === "order" ? [...this.picked].indexOf(i) + 1 : 0;
    const fresh = cell.touched === state.calls && cell.touched >= 0 && !state.done && !picking;
    const other = picking ? null : this.settings.others?.[this.id]?.[i] ?? null;
    const sure = cell.state === "masked" ? this.sure.get(i) : undefined;
    const key = `${fresh} ${chosen} ${picking} ${picked} ${turn} ${state.open} ${other} ${sure}`;
    if (view.cell === cell && view.key === key) return;
    view.cell = cell;
    view.key = key;
    let look = cell.state;
    if (look === "committed" && cell.verdict === "accepted" && fresh) look = "accepted";
    if (look === "withdrawn" && !fresh) look = state.open ? "open" : "masked";
    let value = cell.value;
    if (look === "proposed") value = cell.draft;
    else if (cell.state === "accepted") value = cell.draft;
    else if (look === "rejected") value = cell.replacement;
    else if (look === "withdrawn") value = cell.was;
    else if (look === "masked" || look === "open") value = null;
    const { root } = view;
    root.dataset.state = look;
    root.toggleAttribute("data-fresh", fresh);
    root.toggleAttribute("data-blank", cell.blank && !state.open);
    root.toggleAttribute("data-punct", isPunctuation(value) && (!cell.blank || state.open));
    root.toggleAttribute("data-part", Boolean(state.canvas?.spaced) && hugs(value, state) && !isPunctuation(value) && (!cell.blank || state.open));
    root.toggleAttribute("data-break", isBreak(value));
    root.toggleAttribute("data-end", isEnd(value));
    root.toggleAttribute("data-pad", isPad(value));
    root.toggleAttribute("data-forced", cell.origin === "forced");
    root.toggleAttribute("data-picked", Boolean(picked));
    root.toggleAttribute("data-empty", value == null);
    root.toggleAttribute("data-sure", sure != null);
    if (sure != null) view.box.style.setProperty("--sure", sure.toFixed(3));
    root.setAttribute("aria-selected", String(Boolean(picking ? picked : chosen)));
    const wordChanged = text(view.label, shown(value));
    const mark = cell.origin === "forced" ? "\u25c6" : (MARKS[look] ?? "");
    text(view.mark, mark);
    // Under a word: the draft it replaced, or what stands there in the other future.
    const struck = cell.state === "rejected" || cell.state === "committed" ? spelled(cell.struck, this.t) : "";
    const below = !struck && other != null && cell.state === "committed" && cell.value !== other;
    root.toggleAttribute("data-other", below);
    text(view.struck, below ? spelled(other, this.t) : struck);
    // A mark and a number share one corner; the mark goes first.
    text(view.badge, turn ? String(turn) : !state.open && !mark && cell.state === "committed" ? String(cell.call) : "");
    root.setAttribute("aria-label", this.#name(i, cell, look, value, picked, sure));
    if (cell.blank && !state.open && wordChanged) this.#shrink(view);
    if (state.open && wordChanged) this.stale = true;
  }

  #name(i, cell, look, value, picked, sure) {
    const { t } = this;
    const said = spelled(value, t);
    const parts = [t("cell.name", { n: i + 1, state: t(cell.origin === "forced" ? "state.forced" : `state.${look}`) })];
    if (said) parts.push(t("cell.value", { value: said }));
    const p = cell.state === "committed" ? (cell.chance ?? cell.p) : cell.p;
    if (p != null) parts.push(t("cell.p", { p: Number(p).toFixed(2) }));
    if (sure != null) parts.push(t("cell.sure", { p: Number(sure).toFixed(2) }));
    if (cell.struck) parts.push(t("cell.struck", { value: spelled(cell.struck, t) }));
    if (cell.state === "committed") parts.push(t("cell.call", { n: cell.call }));
    if (this.settings.pickBlanks === "order" && picked) parts.push(t("cell.turn", { n: [...this.picked].indexOf(i) + 1 }));
    else if (this.settings.pickBlanks) parts.push(t(picked ? "cell.picked" : "cell.kept"));
    return parts.join(", ");
  }

  /** A word wider than its blank is set smaller, down to 12 px. */
  #shrink(view) {
    const style = this.metrics ??= this.#measureMetrics();
    const width = measure(view.label.textContent, style.font);
    const scale = Math.min(1, style.room / Math.max(width, 1));
    view.label.style.fontSize = scale < 1 ? `${Math.max(scale, 0.55)}em` : "";
  }

  #measureMetrics() {
    const style = getComputedStyle(this.row);
    const px = parseFloat(style.fontSize);
    const view = this.views.find((v) => v.root.hasAttribute("data-blank"));
    const room = (view?.box.clientWidth || px * 3.6) - 8;
    return { font: `italic ${style.fontSize} ${style.fontFamily}`, room };
  }

  #fit() {
    this.metrics = null;
    for (const view of this.views) if (view.root.hasAttribute("data-blank")) this.#shrink(view);
    // Geometry is read once per layout; the thread is drawn from it.
    const origin = this.page.getBoundingClientRect();
    this.rows = [];
    this.boxes = [];
    const tops = new Map();
    for (const word of this.row.children) {
      for (const root of word.classList.contains("uf-word") ? word.children : []) {
        const r = root.getBoundingClientRect();
        const box = root.firstChild.getBoundingClientRect();
        const top = Math.round(r.top - origin.top);
        if (!tops.has(top)) {
          tops.set(top, this.rows.length);
          this.rows.push({ top: box.top - origin.top, bottom: r.bottom - origin.top, gaps: [-9], edge: null });
        }
        const row = this.rows[tops.get(top)];
        const left = r.left - origin.left;
        if (row.edge !== null && left - row.edge > 3) row.gaps.push((left + row.edge) / 2);
        row.edge = r.right - origin.left;
        this.boxes[Number(root.dataset.cell)] = { x: (box.left + box.right) / 2 - origin.left, top: box.top - origin.top, bottom: box.bottom - origin.top, row: tops.get(top), side: 0 };
      }
    }
    for (const row of this.rows) if (row.edge !== null) row.gaps.push(row.edge + 9);
    this.svg.setAttribute("width", String(this.page.clientWidth));
    this.svg.setAttribute("height", String(this.page.clientHeight));
    this.stale = false;
    this.threadKey = "";
    this.links.clear();
    this.svg.replaceChildren();
  }

  /** An open page keeps room for what may still come, so that the page below it stays where it is. */
  #reserveHeight(state) {
    if (!state.open || !state.canvas) return;
    const lane = this.player.lane(this.id);
    const words = this.player.ended ? lane.extent : state.cells.length;
    const key = `${words} ${this.page.clientWidth}`;
    if (this.reserveKey === key) return;
    this.reserveKey = key;
    const style = getComputedStyle(this.row);
    const font = `${style.fontSize} ${style.fontFamily}`;
    const px = parseFloat(style.fontSize);
    let lines = Math.ceil((words * px * 2.75) / Math.max(this.page.clientWidth, 1));
    if (this.player.ended) {
      const last = this.player.stateAt(this.id, lane.events.length - 1);
      let used = 0;
      let rows = 1;
      for (const cell of last.cells) {
        const word = shown(cell.value);
        if (!word || isPad(word)) continue;
        const joins = hugs(cell.value, state);
        if (isBreak(cell.value)) {
          rows += 1 + 2 / 13; // a line and the gap that its end takes: .5 of 3.25 rem
          used = 0;
          continue;
        }
        const w = measure(word, font) + (joins ? 3 : px * 0.7);
        if (!joins && used + w - px * 0.41 > this.page.clientWidth) {
          rows += 1;
          used = w;
        } else used += w;
      }
      lines = rows;
    }
    (this.tree ? this.root : this.grid).style.setProperty("--rows", String(Math.max(lines, 1)));
    this.stale = true;
    this.#fit();
  }

  // ---- thread

  #drawThread(state) {
    // A search decides in leaps, backwards: its tree tells more than a thread would.
    const show = !this.settings.pickBlanks && !this.tree;
    const open = state.open ? " open" : "";
    const key = show ? `${state.decisions.length} ${Boolean(state.done)} ${this.rows?.length} ${this.flow}${open}` : "off";
    if (key === this.threadKey) return;
    this.threadKey = key;
    if (!show || state.decisions.length < 2) {
      this.links.clear();
      this.svg.replaceChildren();
      return;
    }
    const total = Math.max(state.blanks && !state.open ? state.blanks : state.decisions.length, 2);
    const over = Boolean(state.done);
    const { decisions } = state;
    for (const link of this.links.values()) link.used = false;
    for (let k = 1; k < decisions.length; k++) {
      const age = decisions.length - 1 - k;
      const strength = fade(age, over);
      if (strength <= 0.08 && age > 12) continue;
      for (const cell of decisions[k].cells) {
        const link = this.#link(decisions, k, cell);
        if (!link) continue;
        link.used = true;
        const now = age === 0 && !over;
        // Where reading goes on in the next line, nothing is told: there the thread is only hinted at.
        const faint = state.open && link.turns ? 0.4 : 1;
        link.path.setAttribute("style", `stroke:${orderColour(k, total)};stroke-width:${now ? 2 : 1.4};opacity:${(strength * faint).toFixed(3)}`);
        link.knot.setAttribute("style", `fill:${orderColour(k, total)};opacity:${Math.max(strength, 0.3).toFixed(3)};r:${now ? 3 : age < 5 || over ? 2 : 0}px`);
      }
    }
    for (const link of this.links.values()) link.group.setAttribute("visibility", link.used ? "visible" : "hidden");
    if (this.svg.childElementCount !== this.links.size) this.svg.replaceChildren(...[...this.links.values()].map((link) => link.group));
  }

  /** The drawn link into a cell of decision k; its way is found once per layout. */
  #link(decisions, k, cell) {
    const key = `${decisions[k - 1].n} ${decisions[k].n} ${cell}`;
    let link = this.links.get(key);
    if (link !== undefined) return link;
    const to = this.boxes[cell];
    const from = decisions[k - 1].cells.map((c) => this.boxes[c]).filter(Boolean)
      .reduce((best, b) => (!best || distance(b, to) < distance(best, to) ? b : best), null);
    if (!from || !to || from === to) return null;
    from.side = this.#struckReach(decisions[k - 1].cells);
    to.side = this.#struckReach([cell]);
    const x = from.row > to.row ? to.x - (Math.sign(to.x - from.x) || 1) * to.side : to.x;
    const path = make("path", { d: route(from, to, this.rows, (k % 4) / 3), class: "uf-link" });
    const knot = make("circle", { cx: x, cy: from.row > to.row ? to.bottom : to.top, class: "uf-knot" });
    link = { path, knot, group: make("g", {}, path, knot), used: false, turns: from.row !== to.row };
    this.links.set(key, link);
    return link;
  }

  /** How far from its middle a word must be left so that the thread passes beside the draft struck out below it. */
  #struckReach(cells) {
    const struck = cells.map((c) => this.views[c]).find((view) => view.struck.textContent);
    return struck ? Math.min(struck.struck.offsetWidth / 2 + 4, struck.box.offsetWidth / 2 - 3) : 0;
  }

  light(what) {
    const cells = what ? new Set(what.cells) : null;
    this.root.toggleAttribute("data-lit", Boolean(what));
    for (const view of this.views) {
      const i = Number(view.root.dataset.cell);
      view.root.toggleAttribute("data-seen", Boolean(cells && (cells.has(i) || what.cell === i)));
    }
  }

  // ---- what the reader does

  #click(event) {
    const root = event.target.closest(".uf-cell");
    if (!root) return;
    this.#roam(root);
    this.#choose(Number(root.dataset.cell));
  }

  #choose(cell) {
    if (this.settings.pickBlanks) {
      if (this.picked.has(cell)) this.picked.delete(cell);
      else this.picked.add(cell);
      this.player.emit("blanks", new Set(this.picked));
      this.draw();
      return;
    }
    const { selection } = this.player;
    if (selection?.lane === this.id && selection.cell === cell) this.player.select(null);
    else this.player.select(this.id, cell);
  }

  #roam(root) {
    if (root) this.home = Number(root.dataset.cell);
    if (this.home >= this.row.querySelectorAll(".uf-cell").length) this.home = 0;
    this.views.forEach((view, i) => {
      const value = i === this.home ? "0" : "-1";
      if (view.root.getAttribute("tabindex") !== value) view.root.setAttribute("tabindex", value);
    });
  }

  #key(event) {
    const root = event.target.closest(".uf-cell");
    if (!root || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const at = Number(root.dataset.cell);
    let to = null;
    if (event.key === "ArrowRight") to = at + 1;
    else if (event.key === "ArrowLeft") to = at - 1;
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = this.boxes.length - 1;
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") to = this.#nearest(at, event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Enter" || (event.key === " " && this.settings.pickBlanks)) this.#choose(at);
    else if (event.key === "Escape") this.player.select(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (to != null && this.boxes[to]) this.views[to].root.focus();
  }

  #nearest(at, step) {
    const here = this.boxes[at];
    let best = null;
    this.boxes.forEach((box, i) => {
      if (box.row === here.row + step && (best === null || Math.abs(box.x - here.x) < Math.abs(this.boxes[best].x - here.x))) best = i;
    });
    return best;
  }
}

function distance(a, b) {
  return a && b ? Math.hypot(a.x - b.x, a.top - b.top) : Infinity;
}

/** Does this value stand close behind the one before it? Where values carry their own spaces, those say so. */
function hugs(value, state) {
  return state.canvas?.spaced ? typeof value === "string" && !/^ /.test(value) && !isEnd(value) : isPunctuation(value);
}

/** The word that a cell shows, whoever put it there; where no word is a part of another, only what it holds counts. */
function held(cell, state) {
  return state.canvas?.spaced ? cell.value ?? cell.replacement ?? cell.draft : cell.value;
}

/** Set text only when it differs; tells whether it did. */
function text(element, value) {
  if (element.textContent === value) return false;
  element.textContent = value;
  return true;
}

let pen = null;
const widths = new Map();
function measure(word, font) {
  const key = `${font} ${word}`;
  if (!widths.has(key)) {
    pen ??= document.createElement("canvas").getContext("2d");
    pen.font = font;
    widths.set(key, pen.measureText(word).width);
  }
  return widths.get(key);
}

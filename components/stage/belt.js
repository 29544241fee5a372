// Codes in a line of groups: each full group makes one step out of the noise. Above, the noisy canvas and the picture that
// it would jump to now; under them the belt, a column a group, with the look that the group brought at its foot.

import { make, short, shown } from "../player/words.js";
import { sentence } from "./grid.js";
import { Head, write } from "./head.js";
import { callsOf, mark } from "./picture.js";
import { orderColour } from "./thread.js";

const LEGEND = ["waiting", "fired", "given"];

export class BeltLane {
  constructor({ id, player, t, settings, shots, ink, redraw }) {
    Object.assign(this, { id, player, t, settings, shots, ink, redraw });
    this.head = new Head(t, player, id);
    this.views = Object.fromEntries(["noisy", "jump"].map((name) => {
      const canvas = make("canvas", { class: "uf-half", role: "img" });
      const caption = make("figcaption", {});
      return [name, { canvas, caption, root: make("figure", { class: "uf-half-box" }, canvas, caption) }];
    }));
    this.belt = make("div", { class: "uf-belt", role: "grid" });
    this.said = make("p", { class: "uf-spot" });
    this.legend = make("p", { class: "uf-legend" }, ...LEGEND.map((k) => make("span", { "data-look": k }, make("i", {}), t(`belt.legend.${k}`))));
    this.other = make("button", { type: "button", class: "uf-link-button", "aria-pressed": "false", hidden: true, onclick: () => this.#pin("other") }, t("picture.other"));
    this.follow = make("button", { type: "button", class: "uf-link-button", hidden: true, onclick: () => this.#pin(null) }, t("picture.follow"));
    const tools = make("div", { class: "uf-line-tools" }, this.other, this.follow);
    this.root = make("section", { class: "uf-lane", "data-lane": id, "data-kind": "list" }, this.head.root,
      make("div", { class: "uf-belt-box" }, make("div", { class: "uf-halves" }, this.views.noisy.root, this.views.jump.root), this.belt),
      make("div", { class: "uf-foot" }, make("div", { class: "uf-words-line" }, this.legend, this.said, tools)));
    this.codes = [];
    this.renew();
    this.belt.addEventListener("click", (e) => this.#click(e));
    this.belt.addEventListener("keydown", (e) => this.#keydown(e));
    this.belt.addEventListener("pointerover", (e) => this.#over(e.target));
    this.belt.addEventListener("pointerleave", () => player.emit("point", null));
    this.belt.addEventListener("focusin", (e) => this.#over(e.target));
    this.belt.addEventListener("focusout", () => player.emit("point", null));
  }

  /** Another run on the same belt: nothing of the old one is known any more. */
  renew() {
    this.pinned = this.pointed = null; // pinned: a group whose pair is held, or "other"
    this.retheme();
  }

  retheme() {
    for (const { canvas } of this.#canvases()) canvas.key = null;
    this.keys = [];
  }

  empty() {
    this.head.empty();
    for (const { canvas } of this.#canvases()) {
      canvas.width += 0; // wipes it
      canvas.key = null;
    }
    this.keys = [];
    for (const code of this.codes) for (const name of ["data-state", "data-fresh", "data-given", "data-forced"]) mark(code, name, name === "data-state" && "masked");
    write(this.said, "");
  }

  resize(side) {
    this.side = side;
    this.retheme();
  }

  destroy() {}

  #canvases() {
    return [...Object.values(this.views), ...(this.groups ?? [])];
  }

  #lay({ shape: [n], groups }) {
    const key = `${n} ${groups}`;
    if (key === this.shape) return;
    Object.assign(this, { shape: key, told: n / groups });
    this.codes = Array.from({ length: n }, (_, i) => make("div", { class: "uf-square", role: "gridcell", tabindex: i ? "-1" : "0", "data-cell": i }));
    this.groups = Array.from({ length: groups }, (_, g) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      const lamp = make("button", { type: "button", class: "uf-lamp", "aria-pressed": "false", "aria-label": this.t("belt.look", { n: g + 1 }), onclick: () => this.#pin(g) }, canvas);
      const row = make("div", { class: "uf-group", role: "row", style: `--leg:${orderColour(g, groups)}` }, ...this.codes.slice(g * this.told, (g + 1) * this.told));
      return { canvas, lamp, root: make("div", { class: "uf-group-box", role: "presentation", style: `--leg:${orderColour(g, groups)}` }, row, make("span", { class: "uf-wire", "aria-hidden": "true" }), lamp) };
    });
    this.belt.style.setProperty("--groups", groups);
    this.belt.replaceChildren(...this.groups.map((g) => g.root));
  }

  #pin(what) {
    this.pinned = this.pinned === what ? null : what;
    this.redraw();
  }

  draw() {
    const { player, t, shots } = this;
    const state = player.state(this.id);
    this.state = state;
    this.#lay(state.canvas);
    const last = this.groups.length;
    mark(this.root, "data-done", Boolean(state.done));
    const said = (n) => t("belt.codes", { n, m: state.cells.length });
    this.head.draw(state, { said: said(state.written), widest: said(state.cells.length), ...callsOf(player, this.id, state, t) });
    mark(this.root, "data-kept", state.cells.some((cell) => cell.state === "given"));
    mark(this.belt, "aria-label", t("belt.label", { title: player.title(this.id), groups: last, n: this.told }));
    const jumps = this.groups.map((_, g) => shots.latest(this.id, ["picture"], state.n, g));
    this.fired = jumps.filter(Boolean).length;
    const whole = shots.latest(this.id, ["picture"], state.n, last);
    const canvasAt = (k) => (k === last ? whole ?? shots.latest(this.id, ["noisy"], state.n) : shots.latest(this.id, ["noisy"], state.n, k));
    // The pair that a reader holds on to, else the newest.
    const k = typeof this.pinned === "number" ? Math.min(this.pinned + 1, this.fired) : this.fired;
    const kept = shots.latest(this.id, ["other"], state.n);
    this.#picture(this.views.noisy, canvasAt(k), t(k === last ? "belt.clear" : "belt.canvas", { n: k, m: last }));
    const other = this.pinned === "other" && kept;
    this.#picture(this.views.jump, other || (k ? jumps[k - 1] : null), t(other ? "picture.now.other" : k ? "belt.jump" : "belt.jump.none", { n: k }));
    this.groups.forEach((group, g) => {
      this.#paint(group.canvas, jumps[g], this.side / last - 6);
      mark(group.lamp, "data-on", Boolean(jumps[g]));
      mark(group.lamp, "aria-pressed", String(this.pinned === g));
      mark(group.lamp, "aria-disabled", String(!jumps[g]));
    });
    this.other.hidden = !kept;
    mark(this.other, "aria-pressed", String(this.pinned === "other"));
    this.follow.hidden = this.pinned === null;
    this.#drawCodes(state);
    this.#say();
  }

  #picture(view, shot, words) {
    this.#paint(view.canvas, shot, this.side / 2);
    write(view.caption, words);
    mark(view.canvas, "aria-label", words);
    mark(view.canvas, "data-empty", !shot);
  }

  #paint(canvas, shot, side) {
    const bitmap = this.shots.bitmap(shot);
    const ratio = Math.min(globalThis.devicePixelRatio || 1, 2);
    const px = Math.round(side * ratio);
    if (shot && !bitmap) return; // on its way: what stands there stays
    const key = `${shot?.n ?? ""} ${px} ${this.player.version}`;
    if (canvas.key === key) return;
    canvas.key = key;
    canvas.width = canvas.height = px;
    if (!bitmap) return;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, px, px);
  }

  // ---- the codes

  #drawCodes(state) {
    const newest = new Set(state.done ? [] : state.decisions.at(-1)?.cells ?? []);
    const { selection } = this.player;
    state.cells.forEach((cell, i) => {
      const code = this.codes[i];
      const held = cell.state === "committed" || cell.state === "given";
      const look = !held ? "masked" : Math.floor(i / this.told) < this.fired ? "shown" : "waiting";
      const chosen = selection?.lane === this.id && selection.cell === i;
      const other = this.settings.others?.[this.id]?.[i];
      const differs = held && other != null && other !== cell.value && cell.origin !== "forced";
      const key = `${look} ${newest.has(i)} ${chosen} ${cell.n} ${differs}`;
      if (this.keys[i] === key) return;
      this.keys[i] = key;
      mark(code, "data-state", look);
      mark(code, "data-fresh", newest.has(i));
      mark(code, "data-given", cell.state === "given");
      mark(code, "data-forced", cell.origin === "forced");
      mark(code, "data-other", differs);
      mark(code, "aria-selected", String(chosen));
      code.setAttribute("aria-label", this.#name(i, cell, ", "));
    });
  }

  #name(i, cell, comma) {
    const { t } = this;
    const parts = [t("belt.place", { group: Math.floor(i / this.told) + 1, code: (i % this.told) + 1 })];
    if (cell.value != null) parts.push(t("picture.code", { code: shown(cell.value) }));
    if (cell.value == null || cell.state !== "committed") parts.push(t(`picture.state.${cell.state}`));
    if (cell.origin === "forced") parts.push(t("picture.state.forced"));
    else if (cell.state === "committed" && cell.chance != null) parts.push(t("picture.p", { p: short(cell.chance) }));
    return parts.join(comma);
  }

  // ---- pointing

  point(cell) {
    if (cell === this.pointed) return;
    if (this.pointed !== null) mark(this.codes[this.pointed], "data-pointed", false);
    this.pointed = cell;
    if (cell !== null) mark(this.codes[cell], "data-pointed", true);
    this.#say();
  }

  light(what) {
    const cells = what ? new Set(what.cells) : null;
    mark(this.root, "data-lit", Boolean(what));
    this.codes.forEach((code, i) => mark(code, "data-seen", Boolean(cells?.has(i))));
  }

  #say() {
    const cell = this.pointed;
    mark(this.legend, "data-off", cell !== null);
    write(this.said, cell === null ? "" : sentence(this.#name(cell, this.state.cells[cell], " \u00b7 ")));
  }

  #over(target) {
    const code = target.closest?.(".uf-square");
    this.player.emit("point", code ? { lane: this.id, cell: Number(code.dataset.cell) } : null);
  }

  #click(event) {
    const code = event.target.closest(".uf-square");
    if (code) this.#choose(Number(code.dataset.cell));
  }

  #choose(cell) {
    const { selection } = this.player;
    this.codes.forEach((code, i) => { code.tabIndex = i === cell ? 0 : -1; });
    if (selection?.lane === this.id && selection.cell === cell) this.player.select(null);
    else this.player.select(this.id, cell);
  }

  /** Along the line by left and right, from group to group by page up and down. */
  #keydown(event) {
    const code = event.target.closest(".uf-square");
    if (!code || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const at = Number(code.dataset.cell);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 2, ArrowUp: -2, PageDown: this.told, PageUp: -this.told, Home: -at, End: this.codes.length - 1 - at }[event.key];
    if (step !== undefined) {
      const to = this.codes[Math.min(Math.max(at + step, 0), this.codes.length - 1)];
      for (const other of this.codes) other.tabIndex = other === to ? 0 : -1;
      to.focus();
    } else if (event.key === "Enter" || event.key === " ") this.#choose(at);
    else if (event.key === "Escape") this.player.select(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

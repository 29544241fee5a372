// A picture as maps of squares, coarse to fine. The running picture is large; under it stand its scales as growing
// squares, with what the chosen scale added and who sees whom. Where there is room beside it, all that was added is there.

import { expand } from "../player/player.js";
import { make, short, shown } from "../player/words.js";
import { sentence } from "./grid.js";
import { Head, write } from "./head.js";
import { callsOf, Frame, mark } from "./picture.js";
import { orderColour } from "./thread.js";

const VIEWS = ["picture", "residual"];

export class PyramidLane {
  constructor({ id, player, t, settings, shots, ink, redraw, pick }) {
    Object.assign(this, { id, player, t, settings, shots, ink, redraw, pick });
    this.head = new Head(t, player, id);
    this.frame = new Frame({
      onchoose: (cell) => this.#choose(cell),
      onpoint: (cell) => player.emit("point", cell === null ? null : { lane: id, cell }),
      still: player.reducedMotion,
    });
    this.follow = make("button", { type: "button", class: "uf-link-button", onclick: () => this.#pin(null) }, t("picture.follow"));
    this.otherView = make("canvas", { width: 44, height: 44, "aria-hidden": "true" });
    this.other = make("button", { type: "button", class: "uf-link-button uf-other", "aria-pressed": "false", hidden: true, onclick: () => this.#pin({ k: this.scales.length - 1, view: "other" }) }, this.otherView, t("picture.other"));
    this.strip = make("div", { class: "uf-scales", role: "group" });
    this.said = make("p", { class: "uf-spot" });
    this.map = make("svg", { class: "uf-mask", role: "img" });
    this.mapText = make("p", { class: "uf-sight-text" });
    this.foot = make("div", { class: "uf-foot" },
      make("div", { class: "uf-board" }, this.strip, make("div", { class: "uf-sight" }, this.map, make("span", { "aria-hidden": "true" }, t("picture.mask.name")))),
      make("div", { class: "uf-words-line" }, this.mapText, this.said, make("div", { class: "uf-line-tools" }, this.other, this.follow)));
    this.root = make("section", { class: "uf-lane", "data-lane": id, "data-kind": "pyramid" }, this.head.root, make("div", { class: "uf-two" }, this.frame.root, this.foot));
    this.renew();
    this.strip.addEventListener("pointermove", (e) => this.#overTile(e));
    this.strip.addEventListener("pointerleave", () => player.emit("point", null));
    this.strip.addEventListener("keydown", (e) => this.#stripKey(e));
  }

  /** Another run on the same maps: nothing of the old one is known any more. */
  renew() {
    this.keys = new Map();
    this.pointed = null;
    this.pinned = null; // {k, view}: a scale that the reader holds on to; else the newest is shown
    this.otherShot = this.mapKey = this.nestKey = null;
    this.retheme();
  }

  empty() {
    this.head.empty();
    this.frame.empty("open");
    for (const { canvas } of (this.tiles ?? []).flat()) canvas.width += 0; // wipes it
    write(this.said, "");
  }

  resize(side, room) {
    this.side = side;
    this.room = room;
    this.sides = null;
    this.retheme();
  }

  retheme() {
    for (const { canvas } of (this.tiles ?? []).flat()) canvas.key = null;
  }

  destroy() {
    this.frame.stop();
  }

  // ---- scales

  #lay(state) {
    const key = JSON.stringify(state.canvas.shape);
    if (key === this.shapeKey) return;
    this.shapeKey = key;
    this.sides = null;
    let first = 0;
    this.scales = state.canvas.shape.map(([h, w], k) => {
      const scale = { k, h, w, first, count: h * w };
      first += h * w;
      return scale;
    });
    const last = this.scales.at(-1);
    const tile = (scale, view) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      const root = make("button", { type: "button", class: "uf-tile", "data-view": view, "data-k": scale.k, tabindex: "-1", "aria-pressed": "false", onclick: () => this.#pin({ k: scale.k, view }) }, canvas);
      return { root, canvas, view };
    };
    this.tiles = this.scales.map((scale) => VIEWS.map((view) => tile(scale, view)));
    this.labels = this.scales.map((scale) => make("span", { class: "uf-scale-name" }, this.t("picture.scale", { h: scale.h, w: scale.w })));
    const size = (scale) => `--size:${(0.5 + (0.5 * (Math.max(scale.h, scale.w) - 1)) / Math.max(Math.max(last.h, last.w) - 1, 1)).toFixed(3)}`;
    this.columns = this.scales.map((scale, k) => make("div", { class: "uf-scale", style: `${size(scale)};--column:${k + 1};--leg:${orderColour(k, this.scales.length)}` }, this.tiles[k][0].root, this.labels[k], this.tiles[k][1].root));
    const names = make("div", { class: "uf-scale-rows", "aria-hidden": "true" }, make("span", {}, this.t("picture.sofar")), make("span", {}, this.t("picture.adds")));
    this.strip.style.setProperty("--scales", this.scales.length);
    this.strip.replaceChildren(names, ...this.columns);
    this.tiles.at(-1)[0].root.tabIndex = 0;
    mark(this.strip, "aria-label", this.t("picture.scales"));
  }

  scaleOf(cell) {
    return this.scales.find((s) => cell < s.first + s.count);
  }

  /** The place of a cell in the picture: [x, y, wide, high] as shares. */
  place(cell) {
    const s = this.scaleOf(cell);
    const i = cell - s.first;
    return [(i % s.w) / s.w, Math.floor(i / s.w) / s.h, 1 / s.w, 1 / s.h];
  }

  /** The cell of scale k under the middle of another cell. */
  under(cell, k) {
    const [x, y, w, h] = this.place(cell);
    const s = this.scales[k];
    return s.first + Math.min(Math.floor((y + h / 2) * s.h), s.h - 1) * s.w + Math.min(Math.floor((x + w / 2) * s.w), s.w - 1);
  }

  #pin(pin) {
    const same = pin && this.pinned?.k === pin.k && this.pinned.view === pin.view;
    this.pinned = same ? null : pin;
    this.redraw();
  }

  draw(quick) {
    const { player, t, shots, frame } = this;
    const state = player.state(this.id);
    this.state = state;
    this.#lay(state);
    const record = player.lane(this.id);
    mark(this.root, "data-done", Boolean(state.done));
    // The newest scale is the one being chosen; its picture stands as soon as its preview is there.
    const newest = Math.max(state.phase?.unit === "scale" ? state.phase.index : 0, 0);
    const selected = player.selection?.lane === this.id ? this.scaleOf(player.selection.cell)?.k : null;
    // What is picked is picked on the finest map.
    const k = this.settings.pickBlanks ? this.scales.length - 1 : this.pinned?.k ?? selected ?? newest;
    const view = this.pinned?.view ?? "picture";
    const scale = this.scales[k];
    this.view = { k, view };
    frame.lay(scale.h, scale.w, scale.first);
    mark(frame.grid, "aria-label", t("picture.grid.scale", { title: player.title(this.id), h: scale.h, w: scale.w }));
    this.#offerOther(state, view);
    let shot = view === "other" ? shots.latest(this.id, ["other"], state.n) : view === "residual" ? shots.change(this.id, state.n, k) : this.#upTo(state, k);
    if (shot && !shots.bitmap(shot)) shot = shots.drawn(this.id, [view], state.n);
    frame.sketched(view === "picture" && shot?.net, t);
    frame.paint(shots.bitmap(shot), { side: this.side, quick, key: "" });
    // At rest the finest picture needs no lines; a coarse one is meant to be coarse, and they say so.
    const whole = state.done && k === this.scales.length - 1 && view === "picture" && !this.pinned;
    mark(frame.root, "data-lines", !whole);
    mark(frame.root, "data-empty", !shot);
    mark(frame.root, "data-view", view);
    const adds = () => t("picture.now.adds", { h: scale.h, w: scale.w });
    const said = view === "other" ? t("picture.now.other") : view === "residual" ? adds() : this.#captionOf(scale, shot, newest);
    this.head.draw(state, { said, ...callsOf(player, this.id, state, t) });
    this.follow.hidden = !this.pinned;
    this.#drawSquares(state, scale);
    this.#drawTiles(state, newest);
    this.#drawMap(state, record, k);
    this.#drawNest();
    this.#say();
  }

  /** The picture from which scales or places were kept, if there is one. */
  #offerOther(state, view) {
    const shot = this.shots.latest(this.id, ["other"], state.n);
    this.other.hidden = !shot;
    mark(this.other, "aria-pressed", String(view === "other"));
    const bitmap = this.shots.bitmap(shot);
    if (bitmap && this.otherShot !== shot) {
      this.otherShot = shot;
      this.otherView.getContext("2d").drawImage(bitmap, 0, 0, 44, 44);
    }
  }

  #captionOf(scale, shot, newest) {
    const key = (shot?.level ?? -1) >= scale.k ? "picture.now.scale" : scale.k > newest ? "picture.now.ahead" : "picture.now.before";
    return this.t(key, { h: scale.h, w: scale.w });
  }

  /** The running picture after scale k, or after the last one before it that was shown. */
  #upTo(state, k) {
    for (let level = k; level >= 0; level--) {
      const shot = this.shots.latest(this.id, ["picture"], state.n, level);
      if (shot) return shot;
    }
    return null;
  }

  #held(state, scale) {
    for (let i = scale.first; i < scale.first + scale.count; i++) if (!["committed", "given"].includes(state.cells[i].state)) return false;
    return true;
  }

  // ---- squares of the scale that is shown

  #drawSquares(state, scale) {
    const newest = new Set(state.done ? [] : state.decisions.at(-1)?.cells ?? []);
    const { selection } = this.player;
    for (let i = scale.first; i < scale.first + scale.count; i++) {
      const cell = state.cells[i];
      const square = this.frame.square(i);
      const chosen = selection?.lane === this.id && selection.cell === i;
      const picked = this.settings.pickBlanks ? Boolean(this.settings.picks?.has(i - scale.first)) : null;
      const key = `${cell.state} ${newest.has(i)} ${chosen} ${cell.n} ${picked}`;
      const old = this.keys.get(square);
      if (old === key) continue;
      this.keys.set(square, key);
      mark(square, "data-state", cell.state === "masked" ? "open" : ["committed", "given"].includes(cell.state) ? "shown" : cell.state);
      mark(square, "data-fresh", newest.has(i));
      mark(square, "data-forced", cell.origin === "forced");
      mark(square, "data-given", cell.state === "given");
      mark(square, "data-picked", picked);
      mark(square, "aria-selected", String(picked ?? chosen));
      square.setAttribute("aria-label", this.#name(i, cell) + (picked === null ? "" : `, ${this.t(picked ? "picture.picked" : "picture.unpicked")}`));
    }
    if (this.keys.size > 400) this.keys = new Map();
  }

  #name(i, cell) {
    const { t } = this;
    const { row, column, scale } = this.#where(i);
    const parts = [t("picture.square.scale", { row, column, h: scale.h, w: scale.w }), t(cell.origin === "forced" ? "picture.state.forced" : `picture.state.${cell.state}`)];
    if (["committed", "given"].includes(cell.state) && cell.value != null) parts.push(t("picture.code", { code: shown(cell.value) }));
    if (cell.state === "committed" && cell.chance != null) parts.push(t("cell.p", { p: short(cell.chance) }));
    return parts.join(", ");
  }

  #spot(i, cell) {
    const { row, column, scale } = this.#where(i);
    const parts = [this.t("picture.square.scale", { row, column, h: scale.h, w: scale.w })];
    if (cell.value != null) parts.push(this.t("picture.code", { code: shown(cell.value) }));
    else if (!cell.blank || cell.state !== "committed") parts.push(this.t(`picture.state.${cell.state}`));
    if (cell.chance != null) parts.push(this.t("picture.p", { p: short(cell.chance) }));
    return parts.join(" \u00b7 ");
  }

  #where(i) {
    const scale = this.scaleOf(i);
    const at = i - scale.first;
    return { scale, row: Math.floor(at / scale.w) + 1, column: (at % scale.w) + 1 };
  }

  // ---- the scales as tiles

  #drawTiles(state, newest) {
    const ratio = Math.min(globalThis.devicePixelRatio || 1, 2);
    const lines = { over: this.ink.get("over"), paper: this.ink.get("line") };
    const ink = this.ink.get("ink");
    const lit = this.lit;
    // Measured together and once: each measure after a change would lay the page out again.
    this.sides ??= new Map(this.tiles.flat().map(({ root }) => [root, root.clientWidth || 32]));
    this.scales.forEach((scale, k) => {
      const held = this.#held(state, scale);
      mark(this.labels[k], "data-now", k === newest && !state.done);
      for (const { root, canvas, view } of this.tiles[k]) {
        const shot = view === "residual" ? this.shots.change(this.id, state.n, k) : this.shots.latest(this.id, [view], state.n, k);
        const bitmap = this.shots.bitmap(shot);
        const on = this.view.k === k && this.view.view === view;
        const key = `${shot?.n ?? ""} ${Boolean(bitmap)} ${this.pointed} ${on} ${lit ? lit.size : ""}`;
        mark(root, "aria-pressed", String(on));
        mark(root, "data-chosen", k === this.view.k);
        mark(root, "data-state", shot ? "shown" : held ? "held" : "open");
        mark(root, "aria-label", this.t(view === "picture" ? "picture.tile.sofar" : "picture.tile.adds", { h: scale.h, w: scale.w }));
        mark(root, "aria-disabled", !shot);
        if (canvas.key === key) continue;
        canvas.key = key;
        const side = this.sides.get(root);
        canvas.width = canvas.height = Math.round(side * ratio);
        const pen = canvas.getContext("2d");
        pen.scale(ratio, ratio);
        pen.imageSmoothingQuality = "high";
        if (bitmap) pen.drawImage(bitmap, 0, 0, side, side);
        if (view !== "picture") continue;
        pen.strokeStyle = bitmap ? lines.over : lines.paper;
        pen.lineWidth = 1;
        pen.beginPath();
        for (let c = 1; c < scale.w; c++) pen.moveTo(snap((c * side) / scale.w), 0), pen.lineTo(snap((c * side) / scale.w), side);
        for (let r = 1; r < scale.h; r++) pen.moveTo(0, snap((r * side) / scale.h)), pen.lineTo(side, snap((r * side) / scale.h));
        pen.stroke();
        const outline = (cell, width) => {
          const [x, y, w, h] = this.place(cell);
          pen.strokeStyle = ink;
          pen.lineWidth = width;
          pen.strokeRect(x * side + width / 2, y * side + width / 2, w * side - width, h * side - width);
        };
        if (lit) for (let i = scale.first; i < scale.first + scale.count; i++) if (lit.has(i)) outline(i, 1);
        if (this.pointed !== null) outline(this.under(this.pointed, k), this.scaleOf(this.pointed).k === k ? 2.5 : 1);
      }
    });
  }

  #overTile(event) {
    const tile = event.target.closest(".uf-tile");
    if (!tile) return;
    const box = tile.getBoundingClientRect();
    const s = this.scales[Number(tile.dataset.k)];
    const at = (x, n) => Math.min(Math.max(Math.floor(x * n), 0), n - 1);
    const cell = s.first + at((event.clientY - box.top) / box.height, s.h) * s.w + at((event.clientX - box.left) / box.width, s.w);
    if (cell !== this.pointed) this.player.emit("point", { lane: this.id, cell });
  }

  #stripKey(event) {
    const tile = event.target.closest(".uf-tile");
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!tile || !step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const k = Math.min(Math.max(Number(tile.dataset.k) + step[0], 0), this.scales.length - 1);
    const v = Math.min(Math.max(VIEWS.indexOf(tile.dataset.view) + step[1], 0), 1);
    tile.tabIndex = -1;
    const next = this.tiles[k][v].root;
    next.tabIndex = 0;
    next.focus();
    event.preventDefault();
    event.stopPropagation();
  }

  // ---- thread: the squares of all scales that hold one spot

  #drawNest() {
    const cell = this.pointed ?? (this.player.selection?.lane === this.id ? this.player.selection.cell : null);
    const key = `${cell} ${this.view.k} ${this.settings.thread}`;
    if (key === this.nestKey) return;
    this.nestKey = key;
    const { path, h, w } = this.frame;
    if (cell === null || this.settings.thread === "off") {
      path.replaceChildren();
      return;
    }
    const rect = (k, name) => {
      const [x, y, wide, high] = this.place(this.under(cell, k));
      return make("rect", { x: x * w * 10, y: y * h * 10, width: wide * w * 10, height: high * h * 10, class: name });
    };
    const upTo = Math.max(this.view.k, this.scaleOf(cell).k);
    path.replaceChildren(...this.scales.slice(1, upTo + 1).map(({ k }) => make("g", { style: `--leg:${orderColour(k, this.scales.length)}` }, rect(k, "uf-casing"), rect(k, "uf-leg"))));
  }

  // ---- who sees whom, as the evaluations said it

  #drawMap(state, record, lit) {
    const key = `${state.calls} ${lit}`;
    if (key === this.mapKey) return;
    this.mapKey = key;
    const edges = [0];
    for (const s of this.scales) edges.push(edges.at(-1) + Math.max(s.h, s.w));
    const size = edges.at(-1);
    this.map.setAttribute("viewBox", `-0.5 -0.5 ${size + 1} ${size + 1}`);
    const rows = new Map();
    for (let n = 0; n <= state.n; n++) {
      const event = record.events[n];
      if (event?.kind !== "forward" || record.sideNets.has(event.net)) continue;
      const seen = new Set([...expand(event.reads), ...expand(event.computes)].map((c) => this.scaleOf(c).k));
      for (const k of new Set(expand(event.predicts).map((c) => this.scaleOf(c).k))) rows.set(k, seen);
    }
    const parts = [];
    this.scales.forEach((_, r) => this.scales.forEach((__, c) => {
      const box = { x: edges[c], y: edges[r], width: edges[c + 1] - edges[c], height: edges[r + 1] - edges[r] };
      const sees = rows.get(r)?.has(c);
      parts.push(make("rect", { ...box, class: "uf-block", "data-sees": Boolean(sees), "data-own": Boolean(sees && r === c), "data-now": r === lit }));
    }));
    this.map.replaceChildren(...parts);
    const s = this.scales[lit];
    const name = lit === 0 ? "picture.mask.first" : s.first === 1 ? "picture.mask.one" : "picture.mask";
    const said = this.t(name, { h: s.h, w: s.w, n: s.first });
    const kept = state.cells.slice(s.first, s.first + s.count).some((cell) => cell.state === "given");
    write(this.mapText, kept ? `${said} ${this.t("picture.given")}` : said);
    mark(this.map, "aria-label", said);
  }

  // ---- pointing

  point(cell) {
    if (cell === this.pointed) return;
    const old = this.pointed !== null && this.frame.square(this.pointed);
    if (old) mark(old, "data-pointed", false);
    this.pointed = cell;
    const square = cell !== null && this.frame.square(cell);
    if (square) mark(square, "data-pointed", true);
    this.#drawTiles(this.state, Math.max(this.state.phase?.index ?? 0, 0));
    this.#drawNest();
    this.#say();
  }

  light(what) {
    this.lit = what ? new Set(what.cells) : null;
    mark(this.root, "data-lit", Boolean(what));
    this.frame.squares.forEach((square) => mark(square, "data-seen", Boolean(this.lit?.has(Number(square.dataset.cell)))));
    this.#drawTiles(this.state, Math.max(this.state.phase?.index ?? 0, 0));
  }

  #say() {
    const cell = this.pointed;
    mark(this.mapText, "data-off", cell !== null);
    write(this.said, cell === null ? "" : sentence(this.#spot(cell, this.state.cells[cell])));
  }

  #choose(cell) {
    if (this.settings.pickBlanks && cell !== null) return this.pick(cell - this.frame.first);
    const { selection } = this.player;
    if (cell === null || (selection?.lane === this.id && selection.cell === cell)) this.player.select(null);
    else this.player.select(this.id, cell);
  }
}

const snap = (x) => Math.round(x) + 0.5;

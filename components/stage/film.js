// The stage for films: lanes side by side, each a strip of all frames, a beat a row, which begins with the frame that the
// beat before ended on; above it the frame that is looked at; under it who worked when, from the times that were measured.

import { make } from "../player/words.js";
import { expand } from "../player/player.js";
import { Head, write } from "./head.js";
import { laneStage } from "./lanes.js";
import { callsOf, mark } from "./picture.js";

const FILM_MS = 125; // a frame, when the film is played: eight a second
const LEGEND = ["key", "gap", "next", "pixels"];

/**
 * Draw the film lanes of a player. options: lanes (ids; default all film lanes).
 * Returns {draw, set(options), empty(), destroy}: empty() takes all frames off the strips until a new run begins.
 */
export function mount(element, player, { strings = {}, options = {} } = {}) {
  const settings = { ...options };
  let timer = 0;
  const stage = laneStage(element, player, {
    kind: "uf-films", strings, settings,
    shows: (canvas) => canvas.kind === "frames",
    lane: (tools) => new FilmLane({ ...tools, play }),
  });

  /** All films run side by side, from their first frames; again: they stop. */
  function play() {
    clearInterval(timer);
    settings.reel = settings.reel == null ? 0 : null;
    if (settings.reel === 0) {
      timer = setInterval(() => {
        const frames = Math.max(...[...stage.lanes.values()].map((lane) => lane.frames.length));
        settings.reel = (settings.reel + 1) % frames;
        stage.later();
      }, FILM_MS);
    }
    stage.later();
  }

  return {
    ...stage,
    destroy() {
      clearInterval(timer);
      stage.destroy();
    },
  };
}

class FilmLane {
  constructor({ id, player, t, settings, shots, redraw, play }) {
    Object.assign(this, { id, player, t, settings, shots, redraw, pointed: null });
    this.head = new Head(t, player, id);
    this.screen = make("canvas", { class: "uf-screen", role: "img", width: 64, height: 64 });
    this.caption = make("figcaption", {});
    this.button = make("button", { type: "button", class: "uf-link-button", "aria-pressed": "false", onclick: play }, t("film.play"));
    this.strip = make("div", { class: "uf-reel", role: "grid" });
    this.work = make("div", { class: "uf-gantt" });
    this.legend = make("p", { class: "uf-legend" });
    this.root = make("section", { class: "uf-lane", "data-lane": id, "data-kind": "frames" }, this.head.root,
      make("figure", { class: "uf-screen-box" }, this.screen, make("div", {}, this.caption, this.button, this.legend)), this.strip, this.work);
    this.frames = [];
    this.strip.addEventListener("click", (e) => this.#click(e));
    this.strip.addEventListener("keydown", (e) => this.#keydown(e));
    for (const name of ["pointerover", "focusin"]) this.strip.addEventListener(name, (e) => this.#point(e.target));
    for (const name of ["pointerleave", "focusout"]) this.strip.addEventListener(name, () => this.#point(null));
  }

  empty() {
    this.head.empty();
    for (const frame of [...this.frames, ...this.joints]) {
      for (const name of ["data-state", "data-fresh"]) mark(frame.root, name, name === "data-state" && "masked");
      this.#paint(frame.canvas, null);
    }
    this.#paint(this.screen, null);
    write(this.caption, "");
    this.work.replaceChildren();
  }

  #lay({ shape: [n], beats, keys }) {
    const key = `${n} ${beats} ${keys.length}`;
    if (key === this.shape) return;
    const stride = (n - 1) / beats;
    Object.assign(this, { shape: key, stride, keys: new Set(keys) });
    const cell = (more) => {
      const canvas = make("canvas", { width: 64, height: 64, "aria-hidden": "true" });
      return { canvas, root: make("div", { class: "uf-frame", "data-state": "masked", ...more }, canvas) };
    };
    this.frames = Array.from({ length: n }, (_, i) => cell({ role: "gridcell", tabindex: i ? "-1" : "0", "data-cell": i }));
    for (const i of keys) mark(this.frames[i].root, "data-key", true);
    // The frame that a beat begins with is the last one of the beat before, shown once more.
    this.joints = Array.from({ length: beats - 1 }, () => cell({ "aria-hidden": "true", "data-joint": "" }));
    this.strip.replaceChildren(...Array.from({ length: beats }, (_, beat) => make("div", { class: "uf-film-beat", role: "row" },
      beat ? this.joints[beat - 1].root : this.frames[0].root, ...this.frames.slice(beat * stride + 1, (beat + 1) * stride + 1).map((f) => f.root))));
    this.legend.replaceChildren(...LEGEND.filter((k) => k === "pixels" || (keys.length ? k !== "next" : k === "next"))
      .map((k) => make("span", { "data-look": k }, make("i", {}), this.t(`film.legend.${k}`))));
  }

  draw() {
    const { player, t, id, settings } = this;
    const state = player.state(id);
    this.state = state;
    this.#lay(state.canvas);
    const n = this.frames.length;
    mark(this.root, "data-done", Boolean(state.done));
    const said = (k) => t("film.frames", { n: k, m: n });
    this.head.draw(state, { said: said(state.written + 1), widest: said(n), ...callsOf(player, id, state, t) });
    mark(this.strip, "aria-label", t("film.label", { title: player.title(id), n }));
    const shown = this.#shots(state.n);
    const newest = new Set(state.done ? [] : state.decisions.at(-1)?.cells ?? []);
    const chosen = player.selection?.lane === id ? player.selection.cell : null;
    this.frames.forEach(({ root, canvas }, i) => {
      const cell = state.cells[i];
      this.#paint(canvas, shown.get(i));
      mark(root, "data-state", cell.state);
      mark(root, "data-fresh", newest.has(i));
      mark(root, "aria-selected", String(chosen === i));
      mark(root, "aria-label", this.#name(i, cell));
    });
    this.joints.forEach(({ root, canvas }, beat) => {
      const end = (beat + 1) * this.stride;
      this.#paint(canvas, shown.get(end));
      mark(root, "data-state", state.cells[end].state);
    });
    this.shown = shown;
    this.chosen = chosen;
    this.newest = state.done ? n - 1 : state.decisions.at(-1)?.cells.at(-1) ?? 0;
    this.#look();
    this.#drawWork(state);
  }

  /** frame -> its picture, of those that were sent so far. */
  #shots(n) {
    const found = new Map();
    for (const shot of this.shots.list(this.id)) if (shot.n <= n && shot.name === "frame") found.set(shot.level, shot);
    return found;
  }

  /** On the screen: the film that is played, else the frame pointed at, else the chosen one, else the newest. */
  #look() {
    const { reel } = this.settings;
    const i = Math.min(reel ?? this.pointed ?? this.chosen ?? this.newest, this.frames.length - 1);
    this.#paint(this.screen, this.shown.get(i));
    const words_ = this.t("film.screen", { n: i, what: this.t(`film.what.${this.#kind(i)}`) });
    write(this.caption, words_);
    mark(this.screen, "aria-label", words_);
    mark(this.button, "aria-pressed", String(reel != null));
    write(this.button, this.t(reel == null ? "film.play" : "film.stop"));
  }

  #kind(i) {
    if (!i) return "given";
    return this.keys.size ? (this.keys.has(i) ? "key" : "gap") : "next";
  }

  #name(i, cell) {
    const parts = [this.t("film.frame", { n: i, beat: Math.max(Math.ceil(i / this.stride), 1) }), this.t(`film.what.${this.#kind(i)}`)];
    if (cell.state === "masked") parts.push(this.t("film.waiting"));
    return parts.join(", ");
  }

  #paint(canvas, shot) {
    const bitmap = this.shots.bitmap(shot);
    if ((shot && !bitmap) || canvas.shot === (shot ?? null)) return; // on its way: what stands there stays
    canvas.shot = shot ?? null;
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, 64, 64);
    if (bitmap) pen.drawImage(bitmap, 0, 0, 64, 64);
  }

  // ---- who worked when

  /** Each evaluation so far: {worker, from, to, look}, in ms. Where there are no workers, the lane itself is one. */
  #jobs(n) {
    const roles = new Map(this.state.nets.map((net) => [net.id, net.role]));
    const jobs = [];
    for (const e of this.player.events(this.id)) {
      if (e.n > n) break;
      if (e.kind !== "forward") continue;
      const from = e.start_ms ?? Math.max(0, e.t - e.ms);
      const painted = expand(e.predicts);
      const look = roles.get(e.net) !== "target" ? "pixels" : !this.keys.size ? "next" : this.keys.has(painted[0]) ? "key" : "gap";
      jobs.push({ worker: e.worker ?? 0, from, to: from + e.ms, look });
    }
    return jobs;
  }

  #drawWork(state) {
    const { player, t, settings } = this;
    // All lanes are drawn on one measure, so that a bar twice as long took twice the time.
    const span = Math.max(1, ...(settings.lanes ?? player.lanes).map((id) => player.events(id).at(-1)?.t ?? 0));
    const key = `${state.n} ${span}`;
    if (key === this.worked) return;
    this.worked = key;
    const jobs = this.#jobs(state.n);
    const workers = state.canvas.workers ?? 1;
    const x = (ms) => ((ms / span) * 1000).toFixed(2);
    this.work.replaceChildren(...Array.from({ length: workers }, (_, w) => {
      const own = jobs.filter((job) => job.worker === w);
      const end = Math.max(0, ...own.map((job) => job.to));
      const said = t("film.work", { n: w + 1, ms: Math.round(end), jobs: own.length });
      return make("div", { class: "uf-gantt-row" }, make("span", { class: "uf-gantt-name" }, workers > 1 ? t("film.worker", { n: w + 1 }) : t("film.time")),
        make("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": said },
          ...own.map((job) => make("rect", { x: x(job.from), width: Math.max(x(job.to - job.from), 0.6), y: 0, height: 10, "data-look": job.look }))),
        make("span", { class: "uf-gantt-end" }, t("stage.ms", { n: Math.round(end) })));
    }));
  }

  // ---- pointing

  /** Frames that the evaluation under the pointer read. */
  light(what) {
    const cells = what ? new Set(what.cells) : null;
    mark(this.root, "data-lit", Boolean(what));
    this.frames.forEach(({ root }, i) => mark(root, "data-seen", Boolean(cells?.has(i))));
  }

  #point(target) {
    const frame = target?.closest?.(".uf-frame[data-cell]");
    const at = frame ? Number(frame.dataset.cell) : null;
    if (at === this.pointed) return;
    this.pointed = at;
    if (this.state) this.#look();
  }

  #click(event) {
    const frame = event.target.closest(".uf-frame[data-cell]");
    if (frame) this.#choose(Number(frame.dataset.cell));
  }

  #choose(i) {
    const { selection } = this.player;
    this.frames.forEach(({ root }, k) => { root.tabIndex = k === i ? 0 : -1; });
    if (selection?.lane === this.id && selection.cell === i) this.player.select(null);
    else this.player.select(this.id, i);
  }

  /** Along the film by left and right, from beat to beat by up and down. */
  #keydown(event) {
    const frame = event.target.closest(".uf-frame[data-cell]");
    if (!frame || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const at = Number(frame.dataset.cell);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.stride, ArrowUp: -this.stride, Home: -at, End: this.frames.length - 1 - at }[event.key];
    if (step !== undefined) {
      const to = this.frames[Math.min(Math.max(at + step, 0), this.frames.length - 1)].root;
      for (const { root } of this.frames) root.tabIndex = root === to ? 0 : -1;
      to.focus();
    } else if (event.key === "Enter" || event.key === " ") this.#choose(at);
    else if (event.key === "Escape") this.player.select(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

// What the picture stages share: decoded previews and the frame: a picture with a grid of squares
// over it that can be walked, pointed at and chosen.

import { make } from "../player/words.js";

const MIME = { png: "image/png", jpeg: "image/jpeg" };
const MAX_DATA = 90_000; // characters of base64: an event holds at most 64 kB
const FADE_MS = 160;

// ---- decoded previews

const shelves = new WeakMap();

/** The previews of a player's run as bitmaps, each decoded once. Shared by all parts that draw this player. */
export function shotsOf(player) {
  if (!shelves.has(player)) shelves.set(player, new Shots(player));
  return shelves.get(player);
}

class Shots {
  constructor(player) {
    this.player = player;
    this.lanes = new Map();
    this.bitmaps = new WeakMap(); // event -> ImageBitmap, or null while it is being decoded or if it cannot be
    this.changes = new WeakMap(); // sketch -> what its scale changed
    this.waiting = new Set();
    this.listeners = new Set();
    player.on("change", () => { for (const lane of player.lanes) this.list(lane); });
    for (const lane of player.lanes) this.list(lane);
  }

  /** All previews of a lane, in order. New ones start to be decoded here, so that scrubbing finds them ready. */
  list(lane) {
    const events = this.player.events(lane);
    let known = this.lanes.get(lane);
    if (!known || known.events !== events) this.lanes.set(lane, (known = { events, seen: 0, shots: [] }));
    for (; known.seen < events.length; known.seen++) {
      const event = events[known.seen];
      if (event.kind !== "preview") continue;
      known.shots.push(event);
      this.bitmap(event);
    }
    return known.shots;
  }

  /** The last preview of these names (and this level) among the first events up to n. */
  latest(lane, names, n, level = null) {
    const shots = this.list(lane);
    for (let i = shots.length - 1; i >= 0; i--) {
      const shot = shots[i];
      if (shot.n <= n && names.includes(shot.name) && (level === null || shot.level === level)) return shot;
    }
    return null;
  }

  /** The last preview of a name that is decoded already: an older one stands in while the newest is on its way. */
  drawn(lane, names, n) {
    const shots = this.list(lane);
    for (let i = shots.length - 1; i >= 0; i--) {
      const shot = shots[i];
      if (shot.n <= n && names.includes(shot.name) && this.bitmap(shot)) return shot;
    }
    return null;
  }

  /** What scale k changed in a lane's sketches: that of k less that of the scale before, around a middle grey. */
  change(lane, n, k) {
    const of = (level) => this.list(lane).findLast((shot) => shot.name === "picture" && shot.net && shot.level === level && shot.n <= n);
    const [after, before] = [of(k), k > 0 ? of(k - 1) : null];
    if (!after || (k > 0 && !before)) return null;
    if (k === 0) return after;
    if (!this.changes.has(after)) this.changes.set(after, { n: after.n, level: k, after, before });
    return this.changes.get(after);
  }

  bitmap(event) {
    if (!event) return null;
    if (event.before) return this.#difference(event);
    if (!this.bitmaps.has(event)) {
      this.bitmaps.set(event, null);
      this.waiting.add(event);
      decode(event).then((bitmap) => {
        this.bitmaps.set(event, bitmap);
        this.waiting.delete(event);
        for (const f of [...this.listeners]) f();
      });
    }
    return this.bitmaps.get(event);
  }

  #difference(change) {
    const pair = [change.after, change.before].map((shot) => this.bitmap(shot));
    if (!change.bitmap && pair.every(Boolean)) change.bitmap = difference(...pair);
    return change.bitmap ?? null;
  }

  onready(f) {
    this.listeners.add(f);
    return () => this.listeners.delete(f);
  }
}

async function decode({ dtype, data, shape }) {
  try {
    if (typeof data !== "string" || data.length > MAX_DATA) return null;
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    if (dtype === "u8") return await createImageBitmap(pixels(bytes, shape));
    if (!MIME[dtype]) return null;
    return await createImageBitmap(new Blob([bytes], { type: MIME[dtype] }));
  } catch {
    return null; // a damaged preview is left out; the events around it still stand
  }
}

/** One picture less another of its size, on a canvas; grey where they agree. */
function difference(after, before) {
  const canvas = make("canvas", { width: after.width, height: after.height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const [a, b] = [after, before].map((bitmap) => {
    pen.drawImage(bitmap, 0, 0);
    return pen.getImageData(0, 0, canvas.width, canvas.height);
  });
  for (let i = 0; i < a.data.length; i++) if (i % 4 < 3) a.data[i] += 127.5 - b.data[i]; // clamped by its type
  pen.putImageData(a, 0, 0);
  return canvas;
}

/** A preview as the address of an image; null if it is none. */
export function addressOf({ dtype, data }) {
  const sound = MIME[dtype] && typeof data === "string" && data.length <= MAX_DATA && /^[A-Za-z0-9+/=]+$/.test(data);
  return sound ? `data:${MIME[dtype]};base64,${data}` : null;
}

function pixels(bytes, [h, w, channels = 1]) {
  const out = new ImageData(w, h);
  for (let i = 0; i < h * w; i++) {
    for (let c = 0; c < 3; c++) out.data[4 * i + c] = bytes[i * channels + Math.min(c, channels - 1)];
    out.data[4 * i + 3] = 255;
  }
  return out;
}

// ---- the patches that codes stand for

const SHEETS = new Map();
const ACROSS = 32;
const PATCH = 8;

/**
 * The sheet of a lane's codes: {image, draw(pen, code, x, y, side)}, or null where there is none.
 * codes: {tokenizer: url of 32 patches to a row}; only pictures of this site or data: URLs of png and webp are read.
 */
export function sheetOf(codes, nets, onready) {
  const id = (nets ?? []).find((net) => net.role === "decoder")?.id;
  const url = id && (codes?.[id] ?? codes?.[id.split("/").pop()]);
  if (typeof url !== "string" || !/^(data:image\/(png|webp);base64,|[\w./-]+$)/.test(url) || url.startsWith("//")) return null;
  let sheet = SHEETS.get(url);
  if (!sheet) {
    const image = new Image();
    sheet = { image, listeners: new Set(), draw: (pen, code, x, y, side) => patch(image, pen, code, x, y, side) };
    image.onload = () => {
      for (const f of sheet.listeners) f();
      sheet.listeners.clear();
    };
    image.src = url;
    SHEETS.set(url, sheet);
  }
  if (!ready(sheet.image) && onready) sheet.listeners.add(onready);
  return sheet;
}

const ready = (image) => image.complete && image.naturalWidth > 0;

function patch(image, pen, code, x, y, side) {
  if (!Number.isInteger(code) || code < 0 || !ready(image)) return false;
  const top = Math.floor(code / ACROSS) * PATCH;
  if (top >= image.naturalHeight) return false;
  pen.drawImage(image, (code % ACROSS) * PATCH, top, PATCH, PATCH, x, y, side, side);
  return true;
}

/** What the head of a picture says of calls: as many dots as the run will need. */
export function callsOf(player, lane, state, t) {
  const record = player.lane(lane);
  const most = Math.max(player.ended ? record.calls : record.expected ?? state.blanks, state.calls, 1);
  return { most, unit: t(most === 1 ? "picture.calls.one" : "picture.calls", { m: most }) };
}

/** The page's colours for a pen, read once until `forget()`. */
export class Ink {
  constructor(element) {
    this.element = element;
    this.known = new Map();
  }

  get(name) {
    if (!this.known.has(name)) this.known.set(name, getComputedStyle(this.element).getPropertyValue(`--${name}`).trim());
    return this.known.get(name);
  }

  forget() {
    this.known.clear();
  }
}

// ---- a picture with squares over it

/**
 * label(square) says a square's name; onchoose(cell), onpoint(cell or null) tell what the reader does.
 * Squares are named by the cell of the canvas that they stand for.
 */
export class Frame {
  constructor({ label, onchoose, onpoint, still }) {
    Object.assign(this, { label, onchoose, onpoint, still });
    this.squares = [];
    this.first = 0;
    this.home = 0;
    this.key = "";
    this.canvas = make("canvas", { class: "uf-picture", "aria-hidden": "true" });
    this.path = make("svg", { class: "uf-path", "aria-hidden": "true", preserveAspectRatio: "none" });
    this.grid = make("div", { class: "uf-squares", role: "grid" });
    this.sketch = make("span", { class: "uf-sketch", hidden: true });
    this.root = make("div", { class: "uf-frame" }, this.canvas, this.path, this.grid, this.sketch);
    this.grid.addEventListener("click", (e) => this.#click(e));
    this.grid.addEventListener("keydown", (e) => this.#keydown(e));
    this.grid.addEventListener("pointerover", (e) => this.#point(e.target));
    this.grid.addEventListener("pointerleave", () => onpoint(null));
    this.grid.addEventListener("focusin", (e) => { this.#roam(e.target); this.#point(e.target); });
    this.grid.addEventListener("focusout", () => onpoint(null));
  }

  /** Lay h x w squares that stand for cells first, first + 1, … */
  lay(h, w, first) {
    const key = `${h} ${w} ${first}`;
    if (key === this.key) return;
    const held = this.grid.contains(document.activeElement);
    const spot = this.h ? { y: (Math.floor(this.home / this.w) + 0.5) / this.h, x: ((this.home % this.w) + 0.5) / this.w } : { y: 0, x: 0 };
    this.key = key;
    Object.assign(this, { h, w, first });
    this.home = Math.floor(spot.y * h) * w + Math.floor(spot.x * w);
    this.squares = Array.from({ length: h * w }, (_, i) => make("div", { class: "uf-square", role: "gridcell", tabindex: i === this.home ? "0" : "-1", "data-cell": first + i }));
    const rows = Array.from({ length: h }, (_, r) => make("div", { role: "row" }, ...this.squares.slice(r * w, (r + 1) * w)));
    this.grid.style.setProperty("--across", w);
    this.grid.style.setProperty("--down", h);
    this.path.setAttribute("viewBox", `0 0 ${w * 10} ${h * 10}`);
    this.grid.replaceChildren(...rows);
    if (held) this.squares[this.home].focus({ preventScroll: true });
  }

  /** Paint an image, cross-fading from the one before. `over`: (pen, side) => more to paint. */
  paint(bitmap, { side, quick = false, over = null, key = "" }) {
    const ratio = Math.min(globalThis.devicePixelRatio || 1, 2);
    const px = Math.round(side * ratio);
    const resized = this.canvas.width !== px;
    const whole = `${key} ${px}`;
    if (!resized && this.shown === bitmap && this.whole === whole) return;
    const from = this.shown;
    if (resized) this.canvas.width = this.canvas.height = px;
    Object.assign(this, { shown: bitmap, whole, over, px });
    cancelAnimationFrame(this.timer);
    if (quick || resized || !from || !bitmap || from === bitmap || this.still) {
      this.#stroke(bitmap, 1);
      over?.(this.pen, px);
      return;
    }
    // What stands on the canvas fades away under the new picture; the last frame paints it wholly.
    const start = performance.now();
    const step = (now) => {
      const part = Math.min(1, (now - start) / FADE_MS);
      this.#stroke(bitmap, part < 1 ? 0.35 : 1);
      over?.(this.pen, px);
      if (part < 1) this.timer = requestAnimationFrame(step);
    };
    step(start);
  }

  /** Say that the picture is the quick sketch of a small network, or that it is none. */
  sketched(is, t) {
    this.sketch.hidden = !is;
    if (!is || this.sketch.textContent) return;
    this.sketch.textContent = t("picture.sketch");
    this.sketch.title = t("picture.sketch.help");
  }

  /** Take everything off the picture, and leave the squares in one state. */
  empty(state) {
    this.stop();
    this.sketch.hidden = true;
    this.#stroke(null);
    Object.assign(this, { shown: null, whole: "" });
    this.path.replaceChildren();
    for (const square of this.squares) {
      for (const name of square.getAttributeNames()) if (name.startsWith("data-") && name !== "data-cell") mark(square, name, name === "data-state" && state);
    }
  }

  get pen() {
    return this.canvas.getContext("2d");
  }

  #stroke(bitmap, alpha) {
    const { pen, px } = this;
    if (!bitmap) {
      pen.clearRect(0, 0, px, px);
      return;
    }
    pen.imageSmoothingQuality = "high";
    pen.globalAlpha = alpha;
    pen.drawImage(bitmap, 0, 0, px, px);
    pen.globalAlpha = 1;
  }

  stop() {
    cancelAnimationFrame(this.timer);
  }

  square(cell) {
    return this.squares[cell - this.first];
  }

  // ---- what the reader does

  #point(target) {
    const square = target.closest?.(".uf-square");
    if (square) this.onpoint(Number(square.dataset.cell));
  }

  #click(event) {
    const square = event.target.closest(".uf-square");
    if (!square) return;
    this.#roam(square);
    this.onchoose(Number(square.dataset.cell));
  }

  #roam(target) {
    const square = target.closest?.(".uf-square");
    if (!square) return;
    this.squares[this.home]?.setAttribute("tabindex", "-1");
    this.home = Number(square.dataset.cell) - this.first;
    square.setAttribute("tabindex", "0");
  }

  #keydown(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || !event.target.closest(".uf-square")) return;
    const { w, h, home } = this;
    const [r, c] = [Math.floor(home / w), home % w];
    const to = { ArrowRight: c + 1 < w ? home + 1 : home, ArrowLeft: c ? home - 1 : home, ArrowDown: r + 1 < h ? home + w : home, ArrowUp: r ? home - w : home, Home: r * w, End: r * w + w - 1 }[event.key];
    if (to !== undefined) this.squares[to].focus();
    else if (event.key === "Enter" || event.key === " ") this.onchoose(this.first + home);
    else if (event.key === "Escape") this.onchoose(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** Set or drop an attribute only where it differs. */
export function mark(element, name, value) {
  if (value == null || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value === true ? "" : value)) element.setAttribute(name, value === true ? "" : value);
}

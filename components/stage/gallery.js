// The stage for pictures, planes and graphs: lanes stand side by side, each picture at a whole multiple of 64 pixels.

import { words } from "../player/words.js";
import { BeltLane } from "./belt.js";
import { GraphLane } from "./graph.js";
import { GridLane } from "./grid.js";
import { PlaneLane } from "./plane.js";
import { PyramidLane } from "./pyramid.js";
import { Ink, shotsOf } from "./picture.js";

const KINDS = { graph: GraphLane, grid: GridLane, list: BeltLane, plane: PlaneLane, pyramid: PyramidLane };
const UNIT = 64;
const LEAST = 256; // narrower than this, lanes go below one another
const ROOM = 25; // rem above and below a picture: head, scales, note and timeline
const IDEA = 5; // rem more in a lecture, where the idea stands above it
const QUICK_MS = 80; // changes that follow faster are states without tweens

/**
 * Draw the picture lanes of a player.
 * options: lanes (ids; default all picture lanes), thread ("recent", "whole" or "off"), heads (true), tools (true),
 * codes ({tokenizer: url of its sheet of patches}), side (of a picture in pixels; default what fits),
 * pickBlanks (squares of the finest map are picked: "blanks" is emitted with them), value (those picked at first, as
 * "18-21,26"), others ({lane: {cell: value}}: what stands there in the other future).
 * Returns {draw, set(options), empty(), destroy}: empty() takes everything off the squares until a new run begins.
 */
export function mount(element, player, { strings = {}, options = {} } = {}) {
  const t = words(strings);
  const settings = { thread: "recent", heads: true, tools: true, lanes: null, codes: null, side: null, ...options };
  const shots = shotsOf(player);
  const lanes = new Map();
  let version = -1;
  let pending = 0;
  let shape = "";
  let fitted = false; // measuring forces a layout: only when the room may have changed
  let quick = false;
  let emptied = false;
  let changedAt = 0;
  let calm = 0;

  element.classList.add("uf-stage", "uf-pictures");
  element.replaceChildren();
  const ink = new Ink(element);

  const ids = () => (settings.lanes ?? player.lanes).filter((id) => player.events(id)[0]?.canvases?.[0]?.kind in KINDS);

  /** The largest picture that lets the lanes stand side by side and leaves the note and the timeline in view. */
  function fit() {
    fitted = true;
    const n = Math.max(lanes.size, 1);
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const width = element.clientWidth;
    const gap = 1.5 * rem;
    const room = (columns) => Math.floor((width - gap * (columns - 1)) / columns / UNIT) * UNIT;
    let columns = n;
    while (columns > 1 && room(columns) < LEAST) columns -= 1;
    const lecture = document.documentElement.classList.contains("lecture");
    const tall = Math.floor((innerHeight - (ROOM + (lecture ? IDEA : 0)) * rem) / UNIT) * UNIT;
    const least = (n === 1 && innerWidth >= 1800 ? 10 : lecture ? 5 : 6) * UNIT;
    const side = settings.side ?? Math.max(UNIT, Math.min(room(columns), Math.max(tall, least)));
    const beside = n === 1 && width - side - gap >= 13 * rem ? Math.floor(width - side - gap) : 0;
    const now = `${side} ${columns} ${beside} ${columns > 1 ? width : ""} ${globalThis.devicePixelRatio}`;
    if (now === shape) return;
    shape = now;
    element.style.setProperty("--side", `${side}px`);
    element.style.setProperty("--gap", `${columns > 1 ? Math.min((width - columns * side) / (columns - 1), 3.5 * rem) : gap}px`);
    element.toggleAttribute("data-beside", beside > 0);
    for (const lane of lanes.values()) lane.resize(side, beside);
  }

  function draw() {
    pending = 0;
    const wanted = ids();
    if (!wanted.length && emptied) return; // the new run has not begun
    emptied = false;
    const Kind = (id) => KINDS[player.events(id)[0].canvases[0].kind];
    if ([...lanes.keys()].join() !== wanted.join() || wanted.some((id) => !(lanes.get(id) instanceof Kind(id)))) {
      for (const lane of lanes.values()) lane.destroy();
      lanes.clear();
      for (const id of wanted) lanes.set(id, new (Kind(id))({ id, player, t, settings, shots, ink, redraw: later, retool, pick }));
      element.replaceChildren(...[...lanes.values()].map((lane) => lane.root));
      shape = "";
      fitted = false;
    } else if (version !== player.version) for (const lane of lanes.values()) lane.renew();
    version = player.version;
    if (!fitted) fit();
    for (const lane of lanes.values()) lane.draw(quick || player.reducedMotion);
  }

  const later = () => { pending ||= requestAnimationFrame(draw); };
  const remeasure = () => {
    fitted = false;
    later();
  };

  function changed() {
    if (emptied) return later();
    const now = performance.now();
    quick = now - changedAt < QUICK_MS;
    changedAt = now;
    if (quick) element.setAttribute("data-quick", "");
    clearTimeout(calm);
    calm = setTimeout(() => {
      quick = false;
      element.removeAttribute("data-quick");
    }, 200);
    later();
  }

  /** Squares are picked at the same places in all lanes. */
  function pick(place) {
    const picks = new Set(settings.picks);
    if (!picks.delete(place)) picks.add(place);
    settings.picks = picks;
    player.emit("blanks", new Set(picks));
    later();
  }

  /** A tool of one lane that holds for all of them. */
  function retool(change) {
    Object.assign(settings, change);
    later();
  }

  const off = [
    player.on("change", changed), player.on("select", later), shots.onready(later),
    player.on("light", (what) => { for (const [id, lane] of lanes) lane.light(what?.lane === id ? what : null); }),
    player.on("point", (what) => { for (const [id, lane] of lanes) lane.point(what?.lane === id ? what.cell : null); }),
  ];
  const resize = new ResizeObserver(remeasure);
  resize.observe(element);
  addEventListener("resize", remeasure);
  const themes = new MutationObserver(() => {
    ink.forget();
    for (const lane of lanes.values()) lane.retheme();
    later();
  });
  for (const node of [document.documentElement, document.body]) themes.observe(node, { attributes: true, attributeFilter: ["class"] });
  draw();

  return {
    draw,
    set(change) {
      Object.assign(settings, change);
      if (change.pickBlanks) settings.picks = new Set(placesOf(change.value));
      if (change.pickBlanks === false) settings.picks = null;
      element.toggleAttribute("data-picking", Boolean(settings.pickBlanks));
      draw();
    },
    empty() {
      if (emptied || !lanes.size) return;
      emptied = true;
      for (const lane of lanes.values()) lane.empty();
    },
    destroy() {
      off.forEach((f) => f());
      resize.disconnect();
      themes.disconnect();
      removeEventListener("resize", remeasure);
      cancelAnimationFrame(pending);
      clearTimeout(calm);
      for (const lane of lanes.values()) lane.destroy();
      element.classList.remove("uf-stage", "uf-pictures");
      element.replaceChildren();
    },
  };
}

/** "3,5,9-12" -> [3, 5, 9, 10, 11, 12] */
function placesOf(text) {
  return String(text ?? "").split(",").flatMap((part) => {
    const [low, high = low] = part.trim().split("-").map((n) => (/^\d{1,4}$/.test(n) ? Number(n) : NaN));
    return Array.from({ length: Math.max(0, Math.min(high - low + 1, 4096)) || 0 }, (_, i) => low + i);
  });
}

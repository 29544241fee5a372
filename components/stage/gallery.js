// The stage for pictures, planes and graphs: lanes stand side by side, each picture at a whole multiple of 64 pixels.

import { BeltLane } from "./belt.js";
import { GraphLane } from "./graph.js";
import { GridLane } from "./grid.js";
import { laneStage } from "./lanes.js";
import { PlaneLane } from "./plane.js";
import { PyramidLane } from "./pyramid.js";

const KINDS = { graph: GraphLane, grid: GridLane, list: BeltLane, plane: PlaneLane, pyramid: PyramidLane };
const UNIT = 64;
const LEAST = 256; // narrower than this, lanes go below one another
const ROOM = 25; // rem above and below a picture: head, scales, note and timeline
const IDEA = 5; // rem more in a lecture, where the idea stands above it

/**
 * Draw the picture lanes of a player.
 * options: lanes (ids; default all picture lanes), thread ("recent", "whole" or "off"),
 * codes ({tokenizer: url of its sheet of patches}), pickBlanks (squares of the finest map are picked: "blanks" is emitted
 * with them), value (those picked at first, as "18-21,26"), others ({lane: {cell: value}}: what stands there in the
 * other future).
 * Returns {draw, set(options), empty(), destroy}: empty() takes everything off the squares until a new run begins.
 */
export function mount(element, player, { strings, options = {} } = {}) {
  const settings = { thread: "recent", codes: null, ...options };

  /** The largest picture that lets the lanes stand side by side and leaves the note and the timeline in view. */
  function fit(lanes) {
    const n = lanes.size;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const width = element.clientWidth;
    const gap = 1.5 * rem;
    const room = (columns) => Math.floor((width - gap * (columns - 1)) / columns / UNIT) * UNIT;
    let columns = n;
    while (columns > 1 && room(columns) < LEAST) columns -= 1;
    const lecture = document.documentElement.classList.contains("lecture");
    const tall = Math.floor((innerHeight - (ROOM + (lecture ? IDEA : 0)) * rem) / UNIT) * UNIT;
    const least = (n === 1 && innerWidth >= 1800 ? 10 : lecture ? 5 : 6) * UNIT;
    const side = Math.max(UNIT, Math.min(room(columns), Math.max(tall, least)));
    const beside = n === 1 && width - side - gap >= 13 * rem ? Math.floor(width - side - gap) : 0;
    element.style.setProperty("--side", `${side}px`);
    element.style.setProperty("--gap", `${columns > 1 ? Math.min((width - columns * side) / (columns - 1), 3.5 * rem) : gap}px`);
    element.toggleAttribute("data-beside", beside > 0);
    return [side, beside];
  }

  /** Squares are picked at the same places in all lanes. */
  function pick(place) {
    const picks = new Set(settings.picks);
    if (!picks.delete(place)) picks.add(place);
    settings.picks = picks;
    player.emit("blanks", new Set(picks));
    stage.later();
  }

  /** A tool of one lane that holds for all of them. */
  function retool(change) {
    Object.assign(settings, change);
    stage.later();
  }

  const stage = laneStage(element, player, {
    kind: "uf-pictures", strings, settings, fit,
    shows: (canvas) => canvas.kind in KINDS,
    lane: (tools) => new KINDS[player.events(tools.id)[0].canvases[0].kind]({ ...tools, retool, pick }),
  });
  return {
    ...stage,
    set(change) {
      if (change.pickBlanks) settings.picks = new Set(placesOf(change.value));
      if (change.pickBlanks === false) settings.picks = null;
      element.toggleAttribute("data-picking", Boolean(change.pickBlanks ?? settings.pickBlanks));
      stage.set(change);
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

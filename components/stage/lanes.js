// What all stages of lanes have in common: which lanes there are, one drawing for each frame of the screen however much
// has happened, and whom to tell of another run, other colours, or another size.

import { words } from "../player/words.js";
import { Ink, shotsOf } from "./picture.js";

const QUICK_MS = 80; // changes that follow faster are states without motion
const CALM_MS = 200; // after so long without one there is motion again

/**
 * The lanes of a player whose canvas a stage `shows`, on an element of the class `kind`.
 *
 * shows(canvas) -> boolean. lane(tools) -> a lane; tools: {id, player, t, settings, shots, ink, redraw}. A lane has
 * root and draw(quick), and whichever of these it wants: renew() for another run, empty(), resize(…), retheme(),
 * light(what), point(cell), destroy(). anew: for another run lanes are made anew instead.
 * put(roots) shows them, by default as the element's children.
 * fit(lanes) lays them out when there may be more or less room, and returns what resize() is told if that has changed.
 * settings: what the lanes share; its `lanes` are their ids, by default all that it shows.
 *
 * Returns {draw, set(settings), empty(), destroy, later, lanes, settings}: empty() takes everything off the lanes until a
 * new run begins.
 */
export function laneStage(element, player, { kind, shows, lane, strings = {}, settings, put, fit, anew = false }) {
  const t = words(strings);
  const shots = shotsOf(player);
  const ink = new Ink(element);
  const lanes = new Map();
  let known = ""; // the lanes that were made
  let told = ""; // the sizes that they know
  let version = -1;
  let pending = 0;
  let fitted = false; // measuring forces a layout: only when the room may have changed
  let emptied = false;
  let quick = false;
  let changedAt = 0;
  let calm = 0;

  const classes = ["uf-stage", kind];
  const each = (what, ...args) => { for (const own of lanes.values()) own[what]?.(...args); };
  const canvasOf = (id) => player.events(id)[0]?.canvases?.[0];
  element.classList.add(...classes);

  function draw() {
    pending = 0;
    const wanted = (settings.lanes ?? player.lanes).filter((id) => canvasOf(id) && shows(canvasOf(id)));
    if (!wanted.length && emptied) return; // the new run has not begun
    emptied = false;
    const now = [anew && player.version, ...wanted.map((id) => `${id} ${canvasOf(id).kind}`)].join();
    if (known !== now) {
      known = now;
      each("destroy");
      lanes.clear();
      for (const id of wanted) lanes.set(id, lane({ id, player, t, settings, shots, ink, redraw: later }));
      const roots = [...lanes.values()].map((own) => own.root);
      if (put) put(roots);
      else element.replaceChildren(...roots);
      told = "";
      fitted = false;
    } else if (version !== player.version) {
      each("renew");
      fitted = false;
    }
    version = player.version;
    if (!fitted && lanes.size && fit) measure();
    each("draw", quick || player.reducedMotion);
  }

  function measure() {
    fitted = true;
    const sizes = fit(lanes);
    const now = `${sizes} ${globalThis.devicePixelRatio}`;
    if (now !== told) each("resize", ...sizes);
    told = now;
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
    }, CALM_MS);
    later();
  }

  const off = [
    player.on("change", changed), player.on("select", later), shots.onready(later),
    player.on("light", (what) => { for (const [id, own] of lanes) own.light?.(what?.lane === id ? what : null); }),
    player.on("point", (what) => { for (const [id, own] of lanes) own.point?.(what?.lane === id ? what.cell : null); }),
  ];
  const resize = new ResizeObserver(remeasure);
  resize.observe(element);
  addEventListener("resize", remeasure);
  const themes = new MutationObserver(() => {
    ink.forget();
    each("retheme");
    remeasure();
  });
  for (const node of [document.documentElement, document.body]) themes.observe(node, { attributes: true, attributeFilter: ["class"] });
  draw();

  return {
    draw,
    later,
    lanes,
    settings,
    set(change) {
      Object.assign(settings, change);
      draw();
    },
    empty() {
      if (emptied || !lanes.size) return;
      emptied = true;
      each("empty");
    },
    destroy() {
      off.forEach((f) => f());
      resize.disconnect();
      themes.disconnect();
      removeEventListener("resize", remeasure);
      cancelAnimationFrame(pending);
      clearTimeout(calm);
      each("destroy");
      element.classList.remove(...classes);
      element.replaceChildren();
    },
  };
}

// Which drawing belongs to which kind of canvas. A new kind is one file in stage/ and one line here: the file exports
// mount(element, player, {strings, options: {lanes, …}}) -> {draw(), set?(change), empty?(), destroy()} and draws the lanes it is
// given from player.state(lane) and nothing else. stage/lanes.js has what such files share: hand it a class of lanes.

import { el, put, set } from "./dom.js";
import * as curve from "../stage/curve.js";
import * as film from "../stage/film.js";
import * as gallery from "../stage/gallery.js";
import * as series from "../stage/series.js";
import * as strip from "../stage/strip.js";
import * as tokens from "../stage/tokens.js";

const KINDS = { tokens, grid: gallery, pyramid: gallery, list: gallery, plane: gallery, graph: gallery, series, frames: film, strip };

/** Draw the chosen lanes of a player, grouped by what draws their canvas: {draw(), set(change), lanes(ids), destroy()} */
export function mountStages(element, player, { lanes, strings, options = {} }) {
  let shown = [];
  let chosen = lanes;
  let key = "";

  function look() {
    const groups = new Map();
    for (const lane of chosen) {
      const own = player.events(lane)[0]?.canvases?.[0]?.kind;
      const kind = [...groups.keys()].find((k) => KINDS[k] && KINDS[k] === KINDS[own]) ?? own;
      if (kind) groups.set(kind, [...(groups.get(kind) ?? []), lane]);
    }
    // Between the click on Run and the first event a stage that can is emptied where it stands, and written anew.
    if (!groups.size && shown.length && shown.every((m) => m.empty)) return shown.forEach((m) => m.empty());
    const now = JSON.stringify([...groups]);
    if (now === key) return;
    key = now;
    clear();
    for (const [kind, ids] of groups) {
      const box = el("div", { class: "stage-group", "data-kind": kind });
      put(element, box);
      if (KINDS[kind]) shown.push(KINDS[kind].mount(box, player, { strings, options: { ...options, lanes: ids } }));
      if (kind === "tokens") shown.push(curve.mount(put(element, el("div", { class: "stage-curve" })).lastElementChild, player, { strings, options: { lanes: ids } }));
      if (!KINDS[kind]) put(box, el("p", { class: "no-stage" }, `${kind}: ${ids.join(", ")}`));
    }
  }

  function clear() {
    shown.forEach((m) => m.destroy());
    shown = [];
    set(element);
  }

  const off = player.on("change", look);
  look();

  return {
    draw: () => shown.forEach((m) => m.draw()),
    set(change) {
      Object.assign(options, change);
      shown.forEach((m) => m.set?.(change));
    },
    lanes(ids) {
      chosen = ids;
      look();
    },
    destroy() {
      off();
      clear();
    },
  };
}

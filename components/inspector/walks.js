// For a token that was guessed and checked: how both nets walked to it from the same noise, and the two bells of the
// last step with what is left over of the target's above the draft's.

import { expand } from "../player/player.js";
import { make } from "../player/words.js";
import { halves } from "../stage/series.js";

const WIDE = 220;
const TALL = 150;
const HIGH = 96;
const REACH = 3.2; // standard deviations of a bell that are drawn
const KEYS = ["p", "q", "left"];

/** The parts of the view; none where nothing was checked or nothing is known of the walks. context: {player, t, focus, cell, state} */
export function walks({ player, t, focus, cell, state }) {
  const found = cell.verdict && of(player.events(focus.lane), focus.cell, state.n);
  if (!found) return [];
  const { walk, bell, row } = found;
  const key = make("p", { class: "uf-key uf-walk-key" }, ...KEYS.map((k) => make("span", {}, make("i", { "data-name": k }), t(`inspector.walk.${k}`))));
  return [make("p", { class: "uf-head" }, t("inspector.walk")), paths(walk, row, t), make("p", { class: "uf-head" }, t("inspector.bells")), bells(bell, row, cell, t), key,
    make("p", { class: "uf-help" }, t("inspector.bells.help"))];
}

/** {walk, bell, row}: the arrays of the round in which a place was checked, and which of their rows it is. */
function of(events, place, upto) {
  let phase = null;
  let found = null;
  for (const event of events) {
    if (event.n > upto) break;
    if (event.kind === "phase" && event.state !== "end") phase = event;
    const row = event.kind === "preview" && ["walks", "bells"].includes(event.name) && phase?.index === event.level ? expand(phase.cells).indexOf(place) : -1;
    if (row >= 0) found = { ...found, row, [event.name === "walks" ? "walk" : "bell"]: halves(event) };
  }
  return found?.walk && found.bell ? found : null;
}

function paths(walk, row, t) {
  const n = walk.shape[1] / 2;
  const points = (from) => Array.from({ length: n }, (_, i) => [walk.at(row, from + i, 0), walk.at(row, from + i, 1)]);
  const both = { p: points(0), q: points(n) };
  const all = [...both.p, ...both.q];
  const [xs, ys] = [all.map((p) => p[0]), all.map((p) => p[1])];
  const [left, top] = [Math.min(...xs), Math.max(...ys)];
  const scale = Math.min((WIDE - 16) / Math.max(Math.max(...xs) - left, 1e-6), (TALL - 16) / Math.max(top - Math.min(...ys), 1e-6));
  const at = ([x, y]) => [8 + (x - left) * scale, 8 + (top - y) * scale].map((v) => v.toFixed(1));
  const drawn = ["q", "p"].flatMap((name) => {
    const spots = both[name].map(at);
    const [x, y] = spots.at(-1);
    const end = name === "q" ? make("rect", { x: x - 4, y: y - 4, width: 8, height: 8, class: "uf-walk-end", "data-name": name }) : make("circle", { cx: x, cy: y, r: 4.5, class: "uf-walk-end", "data-name": name });
    return [make("path", { d: `M${spots.map((s) => s.join(" ")).join("L")}`, class: "uf-walk", "data-name": name }), ...spots.slice(1, -1).map(([cx, cy]) => make("circle", { cx, cy, r: 1.4, class: "uf-walk-step", "data-name": name })), end];
  });
  const starts = ["p", "q"].map((name) => at(both[name][0])).map(([cx, cy]) => make("circle", { cx, cy, r: 5, class: "uf-walk-start" }));
  return make("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, class: "uf-walks", role: "img", "aria-label": t("inspector.walk.chart") }, ...starts, ...drawn);
}

/** bell rows: how far the aims are apart, sd of p and q, where the draft's token fell and where the standing one is. */
function bells(bell, row, cell, t) {
  const [apart, sdP, sdQ, drafted, stands] = [0, 1, 2, 3, 4].map((j) => bell.at(row, j, 0));
  const low = Math.min(-REACH * sdQ, apart - REACH * sdP, drafted, stands);
  const high = Math.max(REACH * sdQ, apart + REACH * sdP, drafted, stands);
  const p = (x) => Math.exp(-0.5 * ((x - apart) / sdP) ** 2) / sdP;
  const q = (x) => Math.exp(-0.5 * (x / sdQ) ** 2) / sdQ;
  const floor = HIGH - 12;
  const unit = (floor - 6) / Math.max(1 / sdP, 1 / sdQ);
  const X = (x) => (6 + ((x - low) / (high - low)) * (WIDE - 12)).toFixed(1);
  const Y = (density) => (floor - density * unit).toFixed(1);
  const xs = Array.from({ length: 161 }, (_, i) => low + (i / 160) * (high - low));
  const curve = (f) => xs.map((x) => `${X(x)} ${Y(f(x))}`).join("L");
  const over = xs.map((x) => `${X(x)} ${Y(Math.max(p(x), q(x)))}`).join("L");
  const under = [...xs].reverse().map((x) => `${X(x)} ${Y(q(x))}`).join("L");
  const tick = (x, name) => make("line", { x1: X(x), x2: X(x), y1: floor - 3, y2: floor + 9, class: "uf-bell-tick", "data-name": name });
  const said = t(`inspector.bells.${cell.verdict}`, { n: (apart / sdP).toFixed(1) });
  return make("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "uf-bells", role: "img", "aria-label": said },
    make("path", { d: `M${over}L${under}Z`, class: "uf-bell-left" }),
    make("path", { d: `M${curve(q)}`, class: "uf-bell", "data-name": "q" }), make("path", { d: `M${curve(p)}`, class: "uf-bell", "data-name": "p" }),
    make("line", { x1: 0, x2: WIDE, y1: floor, y2: floor, class: "uf-axis" }), tick(drafted, "q"), cell.verdict === "rejected" && tick(stands, "p"));
}

// The inspector's view of one step of a series: where its prior expected each latent number, how sure it was, and where
// it fell.

import { make } from "../player/words.js";
import { halves } from "../stage/series.js";
import { whose } from "./square.js";

const WIDE = 220;
const HIGH = 15;
const REACH = 2; // standard deviations drawn

/** context: {player, t, focus, cell, state} */
export function view({ player, t, focus, cell, state }) {
  const [steps] = state.canvas.shape;
  const [row, k] = [Math.floor(focus.cell / steps), focus.cell % steps];
  const top = make("p", { class: "uf-where-word" }, whose(player, focus), make("span", {}, t("inspector.moment", { row: row + 1, step: k + 1 })));
  if (focus.chosen) top.append(make("button", { type: "button", class: "uf-follow", "data-key": "follow", onclick: () => player.select(null) }, t("inspector.clear")));
  const names = state.canvases.series?.canvas.names ?? [];
  const made = state.canvases.series?.cells[focus.cell]?.value;
  const parts = [top, make("p", { class: "uf-big uf-figures" }, ...(made ?? names).map((v, c) => make("span", {}, make("small", {}, names[c] ?? ""), made ? v.toFixed(2) : "\u2026")))];
  if (!cell.value) return [...parts, make("p", { class: "uf-say" }, t("say.moment.masked"))];
  const law = halves(player.events(focus.lane).find((e) => e.kind === "preview" && e.name === "law" && e.level === k));
  parts.push(make("p", { class: "uf-say" }, t(k ? "say.moment" : "say.moment.first")));
  if (law) parts.push(chart(cell.value, law, row, t), make("p", { class: "uf-key" }, ...["expected", "drawn"].map((n) => make("span", {}, make("i", { "data-name": n }), t(`inspector.moment.${n}`)))));
  return parts;
}

/** One line a latent number: a bar two standard deviations to each side of what was expected, a dot where it fell. */
function chart(z, law, row, t) {
  const mean = z.map((_, j) => law.at(0, row, j));
  const spread = z.map((_, j) => law.at(1, row, j));
  const ends = z.flatMap((v, j) => [v, mean[j] - REACH * spread[j], mean[j] + REACH * spread[j]]);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const x = (v) => (4 + ((v - low) / Math.max(high - low, 1e-9)) * (WIDE - 8)).toFixed(1);
  const lines = z.flatMap((v, j) => {
    const y = (j + 0.5) * HIGH;
    return [
      make("line", { x1: x(mean[j] - REACH * spread[j]), x2: x(mean[j] + REACH * spread[j]), y1: y, y2: y, class: "uf-spread" }),
      make("line", { x1: x(mean[j]), x2: x(mean[j]), y1: y - 4, y2: y + 4, class: "uf-mean" }),
      make("circle", { cx: x(v), cy: y, r: 3, class: "uf-fell" }),
    ];
  });
  const said = t("inspector.moment.chart", { n: z.length });
  return make("svg", { viewBox: `0 0 ${WIDE} ${z.length * HIGH}`, class: "uf-latents", role: "img", "aria-label": said }, make("line", { x1: x(0), x2: x(0), y1: 0, y2: z.length * HIGH, class: "uf-axis" }), ...lines);
}

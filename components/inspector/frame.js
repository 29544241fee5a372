// The inspector's view of a frame: the known frames that it was painted from, and it.

import { expand } from "../player/player.js";
import { make } from "../player/words.js";
import { shotsOf } from "../stage/picture.js";
import { whose } from "./square.js";

/** What a drawing of this frame also depends on, beside its cell: the newest preview. */
export function stamp(player, lane, state) {
  return shotsOf(player).latest(lane, ["frame"], state.n)?.n ?? -1;
}

/** context: {player, t, focus, cell, state, redraw} */
export function view({ player, t, focus, cell, state, redraw }) {
  const i = focus.cell;
  const { shape: [n], beats, keys } = state.canvas;
  const stride = (n - 1) / beats;
  const top = make("p", { class: "uf-where-word" }, whose(player, focus), make("span", {}, t("film.frame", { n: i, beat: Math.max(Math.ceil(i / stride), 1) })));
  if (focus.chosen) top.append(make("button", { type: "button", class: "uf-follow", "data-key": "follow", onclick: () => player.select(null) }, t("inspector.clear")));
  if (cell.state === "masked") return [top, make("p", { class: "uf-say" }, t("say.frame.masked"))];
  const from = i ? sources(player.events(focus.lane), state, i) : [];
  const kind = !i ? "given" : keys.length ? (keys.includes(i) ? "key" : "gap") : "next";
  const figure = (frame) => make("figure", { "data-own": frame === i }, picture(player, focus.lane, state, frame, redraw), make("figcaption", {}, t("film.number", { n: frame })));
  const shown = kind === "gap" ? [from[0], i, from[1]] : [...from, i];
  return [top, make("div", { class: "uf-from" }, ...shown.map(figure)), make("p", { class: "uf-say" }, t(`say.frame.${kind}`, { a: from[0] ?? 0, b: from[1] ?? 0 })),
    make("p", { class: "uf-help" }, t("say.frame.told"))];
}

/** The known frames nearest on both sides, of those that the evaluation read that painted this frame. */
function sources(events, state, i) {
  const call = events.find((e) => e.kind === "forward" && e.n <= state.n && expand(e.predicts).includes(i));
  const reads = expand(call?.reads);
  const before = reads.filter((k) => k < i);
  const after = reads.find((k) => k > i);
  if (after === undefined || !state.canvas.keys.length || state.canvas.keys.includes(i)) return state.canvas.keys.length ? before.slice(-1) : before.slice(-2);
  return [before.at(-1), after];
}

function picture(player, lane, state, frame, redraw) {
  const shots = shotsOf(player);
  const shot = shots.latest(lane, ["frame"], state.n, frame);
  const canvas = make("canvas", { width: 64, height: 64, "aria-hidden": "true" });
  const bitmap = shots.bitmap(shot);
  if (bitmap) canvas.getContext("2d").drawImage(bitmap, 0, 0, 64, 64);
  else if (shot && shots.waiting.has(shot)) {
    const off = shots.onready(() => { if (shots.bitmap(shot)) off(redraw()); });
  }
  return canvas;
}

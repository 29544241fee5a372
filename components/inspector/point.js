// The inspector's view of a step of a walker: where it stood, what was offered, and the number that decided.

import { fine, make } from "../player/words.js";
import { pair } from "../stage/plane.js";

/** context: {player, t, focus, cell, state, numberLine(cell, title)} */
export function view({ player, t, focus, cell, state, numberLine }) {
  const { n } = state.canvas.shape;
  const top = make("p", { class: "uf-where-word" }, make("span", {}, t("inspector.point", { walker: Math.floor(focus.cell / n) + 1, step: focus.cell % n })));
  if (focus.chosen) top.append(make("button", { type: "button", class: "uf-follow", "data-key": "follow", onclick: () => player.select(null) }, t("inspector.clear")));
  const place = cell.value ?? (cell.state === "rejected" ? cell.replacement : cell.draft);
  const parts = [top, make("p", { class: "uf-big uf-point" }, place ? pair(place) : "\u2026"), make("p", { class: "uf-say" }, sentence(t, cell))];
  if (cell.verdict && cell.ratio != null) parts.push(...numberLine(cell, t("inspector.point.was")));
  parts.push(make("p", { class: "uf-help" }, t("inspector.point.help")));
  return parts;
}

function sentence(t, cell) {
  if (cell.state === "given") return t("say.point.given");
  if (cell.state === "masked" || cell.state === "open") return t("say.point.masked");
  if (!cell.verdict) return t("say.point.proposed", { to: pair(cell.draft) });
  const to = pair(cell.draft ?? cell.struck ?? cell.value);
  const denser = cell.p >= 1;
  const times = denser ? cell.p : 1 / cell.p;
  const said = { to, times: times > 1000 ? t("say.point.many") : times.toPrecision(times < 10 ? 2 : 3).replace(/\.0$/, ""), u: fine(cell.u) };
  if (denser) return t("say.point.denser", said);
  return t(cell.verdict === "accepted" ? "say.point.taken" : "say.point.refused", said);
}

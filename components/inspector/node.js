// The inspector's view of a variable in a chain: the value that was drawn, and which names were in the running for the
// step that led to it.

import { make, short } from "../player/words.js";

/** "D in chain 3" */
export function nodeOf(t, canvas, cell) {
  const { nodes } = canvas.shape;
  return t("inspector.node", { name: nodes[cell % nodes.length].name, chain: Math.floor(cell / nodes.length) + 1 });
}

/** context: {player, t, focus, cell, state, canForce} */
export function view({ player, t, focus, cell, state, canForce }) {
  const { nodes } = state.canvas.shape;
  const { name } = nodes[focus.cell % nodes.length];
  const place = [nodeOf(t, state.canvas, focus.cell)];
  if (cell.call) place.push(t("inspector.decided", { n: cell.call }));
  const top = make("p", { class: "uf-where-word" }, make("span", {}, place.join(" \u00b7 ")));
  if (focus.chosen) top.append(make("button", { type: "button", class: "uf-follow", "data-key": "follow", onclick: () => player.select(null) }, t("inspector.clear")));
  const known = ["given", "committed"].includes(cell.state);
  const big = known ? `${name} = ${cell.value}` : cell.state === "proposed" ? `${name}: ${short(cell.draft)}` : name;
  const parts = [top, make("p", { class: "uf-big uf-point" }, big), make("p", { class: "uf-say" }, sentence(t, cell, name))];
  const { value, next } = cell.dists ?? {};
  const force = canForce && cell.state === "committed";
  if (value) parts.push(make("p", { class: "uf-head" }, t("inspector.node.value")), bars(value.top.map(([v, p]) => ({ said: `${name} = ${v}`, p, now: known && v === cell.value, onclick: force && (() => player.force(focus.lane, focus.cell, v)) })), t));
  if (next) parts.push(make("p", { class: "uf-head" }, t("inspector.node.next")), bars(next.top.map(([n, p]) => ({ said: n, p, now: n === name })), t, next.rest));
  if (cell.sees != null && known && cell.state !== "given") parts.push(sight(player, t, focus, nodes));
  if (value && force) parts.push(make("p", { class: "uf-head" }, t("inspector.force")), make("p", { class: "uf-help" }, t("inspector.node.force.help")));
  return parts;
}

function sentence(t, cell, name) {
  if (cell.origin === "forced") return t("say.node.forced", { p: short(cell.chance) });
  if (cell.state === "given") return t("say.node.given");
  if (cell.state === "proposed") return t("say.node.read", { name });
  if (cell.state === "committed") return t("say.node.drawn", { p: short(cell.chance) });
  return t("say.node.masked");
}

function bars(rows, t, rest = 0) {
  const lines = rows.map(({ said, p, now, onclick }) => make("li", { "data-now": now },
    make("button", { type: "button", disabled: !onclick, "aria-label": `${said} ${short(p)}${onclick ? `. ${t("inspector.node.force", { value: said })}` : ""}`, title: onclick ? t("inspector.node.force", { value: said }) : null, "data-key": `bar ${said}`, onclick: onclick || null },
      make("span", { class: "uf-bar-word" }, said), make("span", { class: "uf-pair" }, make("span", { class: "uf-one", "data-name": "p", style: `width:${100 * p}%` })),
      make("span", { class: "uf-nums" }, make("b", { class: "uf-tiny" }, short(p) || "0")))));
  if (rest > 0.005) lines.push(make("li", { class: "uf-rest" }, make("button", { type: "button", disabled: true }, make("span", { class: "uf-bar-word" }, t("inspector.node.rest")), make("span", { class: "uf-pair" }, make("span", { class: "uf-one", "data-name": "before", style: `width:${100 * rest}%` })), make("span", { class: "uf-nums" }, make("span", { class: "uf-tiny" }, short(rest))))));
  return make("ul", { class: "uf-bars uf-plain" }, ...lines);
}

/** What the text held when this value was drawn. Pointing lights the stage. */
function sight(player, t, focus, nodes) {
  const cells = player.sees(focus.lane, focus.cell);
  const on = () => player.light({ lane: focus.lane, cell: focus.cell, cells });
  const off = () => player.light(null);
  const named = cells.map((c) => nodes[c % nodes.length].name).join(" ");
  return make("button", { type: "button", class: "uf-sees", "data-key": "sees", onpointerenter: on, onpointerleave: off, onfocus: on, onblur: off, onclick: on },
    make("span", {}, t("inspector.node.sees", { names: named || "\u2013" })));
}

// In which order the blanks of a story are filled: named orders as arcs over a line of words, or one's own, chosen by
// clicking words on the page one after another.

import { orderColour } from "../stage/thread.js";
import { el, svg } from "./dom.js";
import { brush } from "./picture_controls.js";

const DICE = [4, 1, 6, 0, 3, 5, 2]; // a drawing of chance; the seed decides the real order

/** Arcs from each of seven blanks to the next, in the order ramp. */
function arcs(cells) {
  const x = (cell) => 2.5 + cell * 4.5;
  const root = svg("svg", { viewBox: "0 0 32 32", class: "order-path", "aria-hidden": "true" });
  cells.forEach((cell, i) => {
    if (i) {
      const [a, b] = [x(cells[i - 1]), x(cell)];
      const rise = 22 - Math.abs(b - a) * 0.7 - 3;
      root.append(svg("path", { d: `M${a} 22 Q${(a + b) / 2} ${rise} ${b} 22`, fill: "none", style: `stroke:${orderColour(i - 1, cells.length - 1)}` }));
    }
    root.append(svg("circle", { cx: x(cell), cy: 24.5, r: 1.5, style: `fill:${orderColour(i, cells.length)}` }));
  });
  return root;
}

/** `pick()` starts or ends choosing on the page; its result comes back through `show`. */
export function sequence(setting, id, value, change, words, pick) {
  const named = setting.choices.map((c) => c.value);
  const radio = (name, label, drawing) => {
    const input = el("input", { type: "radio", name: id, id: `${id}-${name || "own"}`, value: name, onchange: () => (name ? change(name) : pick()) });
    return { name, input, label: el("label", { for: input.id }, drawing, el("span", {}, label)) };
  };
  const radios = [...setting.choices.map((c) => radio(c.value, c.label, arcs(setting.orders?.[c.value] ?? DICE))), radio("", words("control.sequence.own"), brush())];
  const choices = el("fieldset", { class: "order-choices" }, el("legend", {}, setting.label), el("div", { class: "order-grid" }, radios.map((r) => [r.input, r.label])));
  const said = el("span", { role: "status" });
  const button = el("button", { type: "button", class: "button plain pick", "aria-pressed": "false", onclick: pick }, words("control.pick"));
  const own = el("div", { class: "order-tools" }, said, button);
  let picking = false;
  let now = value;

  function draw() {
    const mine = !named.includes(now);
    for (const r of radios) r.input.checked = mine || picking ? r.name === "" : r.name === now;
    own.hidden = !mine && !picking;
    said.textContent = mine ? words("control.sequence.cells", { cells: now.split(",").map((cell) => Number(cell) + 1).join(", ") }) : words("control.sequence.none");
  }

  function show(text) {
    now = String(text);
    draw();
  }

  draw();
  return {
    nodes: [choices, own],
    show,
    pick(on) {
      picking = on;
      button.setAttribute("aria-pressed", String(on));
      button.textContent = words(on ? "control.picked" : "control.pick");
      draw();
    },
  };
}

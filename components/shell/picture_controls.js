// Two settings that only pictures need: which toys stand on the table, and in which order the squares are chosen.
// Both are pictures themselves; both have a value in plain text.

import { orderColour } from "../stage/thread.js";
import { el, set, svg } from "./dom.js";

// ---- toys

// What the scenes call red, orange, … in full light. A colour that is not listed is drawn in ink.
const PAINT = {
  red: "#d62b26", orange: "#f58014", yellow: "#facc24", green: "#579e38", teal: "#149e9e", blue: "#2657cc", purple: "#8542b3", pink: "#f77aa6",
};
const shade = (paint, share, with_ = "black") => `color-mix(in oklab, ${paint} ${share}%, ${with_})`;

const TOYS = {
  sphere: (c) => [svg("circle", { cx: 20, cy: 20, r: 15, fill: c }), svg("path", { d: "M20 35 A15 15 0 0 0 34 15 A17 17 0 0 1 20 35", fill: shade(c, 72) }), svg("ellipse", { cx: 14, cy: 13, rx: 4.5, ry: 3, fill: shade(c, 35, "white"), transform: "rotate(-35 14 13)" })],
  cube: (c) => [svg("path", { d: "M20 5 L34 12 L20 19 L6 12 Z", fill: shade(c, 68, "white") }), svg("path", { d: "M6 12 L20 19 L20 35 L6 28 Z", fill: c }), svg("path", { d: "M34 12 L20 19 L20 35 L34 28 Z", fill: shade(c, 66) })],
  cone: (c) => [svg("path", { d: "M20 4 L35 30 A15 5 0 0 1 5 30 Z", fill: c }), svg("path", { d: "M20 4 L35 30 A15 5 0 0 1 22 35 Z", fill: shade(c, 68) })],
  ring: (c) => [svg("circle", { cx: 20, cy: 20, r: 10.5, fill: "none", stroke: c, "stroke-width": 9 }), svg("path", { d: "M31.7 24.3 A12.5 12.5 0 0 1 11.2 28.8", fill: "none", stroke: shade(c, 74), "stroke-width": 4.6, "stroke-linecap": "round" }), svg("path", { d: "M10 15 A11.2 11.2 0 0 1 23 9.2", fill: "none", stroke: shade(c, 42, "white"), "stroke-width": 2.4, "stroke-linecap": "round" })],
};

/** A toy as a drawing of 40 units. */
function toy(shape, colour, small = false) {
  const paint = PAINT[colour] ?? "currentColor";
  const parts = TOYS[shape]?.(paint) ?? [svg("rect", { x: 8, y: 8, width: 24, height: 24, fill: paint })];
  return svg("svg", { viewBox: "0 0 40 40", class: "toy", "aria-hidden": "true" }, svg("g", small ? { transform: "translate(8.4 10.4) scale(.58)" } : {}, ...parts));
}

/** "a large red sphere in the middle, …" -> {place: {size, colour, shape}}; null where it is not understood. */
function read(text, { sizes, colours, shapes, places }) {
  const out = new Map();
  const short = places.map((p) => p.split(" the ").at(-1));
  for (const part of text.toLowerCase().split(/,| and /).map((p) => p.trim().replace(/\s+/g, " ")).filter(Boolean)) {
    const found = part.match(/^(?:an? )?(\w+) (\w+) (\w+)(?: (?:at|on|in)(?: the)?)? ([\w ]+)$/);
    if (!found) return null;
    const [, size, colour, shape, where] = found;
    const place = short.indexOf(where);
    if (!sizes.includes(size) || !colours.includes(colour) || !shapes.includes(shape) || place < 0 || out.has(place)) return null;
    out.set(place, { size, colour, shape });
  }
  return out;
}

const named = ({ size, colour, shape }) => `${size} ${colour} ${shape}`;

function say(toys, places) {
  return [...toys.entries()].sort((a, b) => a[0] - b[0]).map(([place, thing]) => `a ${named(thing)} ${places[place]}`).join(", ");
}

/** A table of three by three places; a place that is pressed gets a toy, whose shape, colour and size are then chosen. */
export function objects(setting, id, value, change, words) {
  const { sizes, colours, shapes, places, most } = setting;
  let toys = read(value, setting) ?? new Map();
  let usual = new Map(); // what the seed sets, as far as a run has told
  let at = null; // the place that is being set
  let home = 4;
  let last = { size: sizes.at(-1), colour: colours[0], shape: shapes[0] };

  const spots = places.map((_, i) => el("button", { type: "button", class: "table-place", "data-place": i, tabindex: i === home ? 0 : -1, onclick: () => press(i) }));
  const rows = [0, 3, 6].map((r) => el("div", { role: "row", class: "table-row" }, spots.slice(r, r + 3).map((s) => el("div", { role: "gridcell" }, s))));
  const board = el("div", { class: "table-board", role: "grid", "aria-label": words("control.objects.board"), onkeydown: key }, rows);
  const hint = el("p", { class: "control-help", role: "status" });
  const choices = ["shape", "colour", "size"].map((what) => choice(what));
  const remove = el("button", { type: "button", class: "button plain", onclick: () => take(at) }, words("control.objects.remove"));
  const editor = el("div", { class: "toy-editor" }, choices.map((c) => c.root));
  editor.lastElementChild.append(remove);
  const reset = el("button", { type: "button", class: "button plain table-reset", onclick: () => { at = null; give(new Map()); } }, words("control.objects.reset"));
  const input = el("input", { type: "text", id, autocomplete: "off", spellcheck: "false", maxlength: 400, value, placeholder: words("control.objects.example"), onchange: () => change(input.value) });
  const inWords = el("details", { class: "table-words" }, el("summary", {}, words("control.objects.text")), input);

  function choice(what) {
    const options = { shape: shapes, colour: colours, size: sizes }[what];
    const radios = options.map((option) => el("input", { type: "radio", name: `${id}-${what}`, id: `${id}-${what}-${option}`, value: option, "aria-label": option, onchange: () => alter({ [what]: option }) }));
    const labels = options.map((option) => el("label", { for: `${id}-${what}-${option}`, title: option, "data-option": option }));
    const root = el("fieldset", { class: "toy-choice", "data-what": what }, el("legend", { class: "visually-hidden" }, words(`control.objects.${what}`)), radios.map((r, i) => [r, labels[i]]));
    return { what, root, radios, labels, options };
  }

  /** Whoever changes the seed's scene goes on from it. */
  const own = () => (toys.size ? toys : new Map(usual));

  function press(place) {
    toys = own();
    const full = !toys.has(place) && toys.size >= most;
    hint.textContent = full ? words("control.objects.full", { n: most }) : "";
    if (full) return;
    if (at === place && toys.has(place)) {
      at = null;
      draw();
      return;
    }
    at = place;
    if (toys.has(place)) {
      last = toys.get(place);
      draw();
    } else give(new Map(toys).set(place, last));
  }

  function alter(trait) {
    if (at === null) return;
    last = { ...toys.get(at), ...trait };
    give(new Map(toys).set(at, last));
  }

  function take(place) {
    const rest = new Map(own());
    rest.delete(place);
    if (at === place) at = null;
    give(rest);
    spots[place].focus();
  }

  function give(next) {
    toys = next;
    input.value = say(toys, places);
    draw();
    change(input.value);
  }

  function key(event) {
    const place = Number(event.target.dataset.place);
    if (Number.isNaN(place) || event.altKey || event.ctrlKey || event.metaKey) return;
    const [r, c] = [Math.floor(place / 3), place % 3];
    const to = { ArrowRight: c < 2 && place + 1, ArrowLeft: c > 0 && place - 1, ArrowDown: r < 2 && place + 3, ArrowUp: r > 0 && place - 3, Home: r * 3, End: r * 3 + 2 }[event.key];
    if ((event.key === "Delete" || event.key === "Backspace") && own().has(place)) take(place);
    else if (typeof to === "number") {
      spots[home].tabIndex = -1;
      home = to;
      spots[home].tabIndex = 0;
      spots[home].focus();
    } else if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
  }

  function draw() {
    board.toggleAttribute("data-usual", !toys.size && usual.size > 0);
    spots.forEach((spot, place) => {
      const thing = own().get(place);
      set(spot, thing && toy(thing.shape, thing.colour, thing.size !== sizes.at(-1)));
      spot.setAttribute("aria-label", words("control.objects.place", { place: places[place].replace(/^\w+ the /, ""), toy: thing ? named(thing) : words("control.objects.empty") }));
      spot.setAttribute("aria-pressed", String(place === at));
    });
    const thing = toys.get(at);
    editor.hidden = !thing;
    reset.hidden = !toys.size;
    if (!toys.size) hint.textContent = words("control.objects.seed");
    else if (!thing && hint.textContent === words("control.objects.seed")) hint.textContent = "";
    if (!thing) return;
    hint.textContent = "";
    for (const { what, radios, labels, options } of choices) {
      radios.forEach((r) => { r.checked = r.value === thing[what]; });
      labels.forEach((label, i) => set(label, what === "colour" ? el("i", { style: `background:${PAINT[options[i]] ?? "currentColor"}` })
        : what === "shape" ? toy(options[i], thing.colour) : toy(thing.shape, thing.colour, options[i] !== sizes.at(-1))));
    }
  }

  function show(text) {
    const found = read(text, setting);
    input.value = text;
    if (found) toys = found;
    if (at !== null && !toys.has(at)) at = null;
    draw();
  }

  draw();
  return {
    told: (text) => {
      const found = read(text, setting) ?? new Map();
      if (say(found, places) === say(usual, places)) return;
      usual = found;
      draw();
    },
    nodes: [el("div", { class: "control-head" }, el("label", { for: id }, setting.label), reset), board, editor, hint, inWords],
    show,
    input: () => {
      inWords.open = true;
      return input;
    },
  };
}

// ---- order

const SIDE = 8;

/** The path of an order through the squares, in the order ramp; cells that no order names are left out. */
function pathOf(cells, unit = 4) {
  const root = svg("svg", { viewBox: `0 0 ${SIDE * unit} ${SIDE * unit}`, class: "order-path", "aria-hidden": "true" });
  const place = (cell) => [((cell % SIDE) + 0.5) * unit, (Math.floor(cell / SIDE) + 0.5) * unit];
  cells.slice(1).forEach((cell, i) => {
    const [[x1, y1], [x2, y2]] = [place(cells[i]), place(cell)];
    root.append(svg("line", { x1, y1, x2, y2, style: `stroke:${orderColour(i, Math.max(cells.length - 1, 2))}` }));
  });
  return root;
}

/** Named orders as drawings of their paths, and a board on which an order is painted. */
export function order(setting, id, value, change, words) {
  const paintable = setting.cells === SIDE * SIDE;
  const names = setting.choices.map((c) => c.value);
  let painted = names.includes(value) ? [] : expand(value);
  let painting = painted.length > 0;
  let home = 0;
  let stroke = null; // the pointer that paints now

  // Dots at places that look like chance: the seed decides the real ones.
  const scatter = () => svg("svg", { viewBox: "0 0 32 32", class: "order-path", "aria-hidden": "true" },
    ...[[5, 7], [20, 4], [12, 14], [27, 11], [7, 24], [18, 21], [26, 27], [13, 28]].map(([cx, cy], i) => svg("circle", { cx, cy, r: 2, style: `fill:${orderColour(i, 8)}` })));
  const drawing = (name) => (setting.orders?.[name] ? pathOf(setting.orders[name]) : name === "" ? brush() : scatter());
  const radio = (name, label) => {
    const input = el("input", { type: "radio", name: id, id: name ? `${id}-${name}` : `${id}-paint`, value: name, onchange: () => choose(name) });
    return { name, input, label: el("label", { for: input.id }, drawing(name), el("span", {}, label)) };
  };
  const radios = [...setting.choices.map((c) => radio(c.value, c.label)), ...(paintable ? [radio("", words("control.order.paint"))] : [])];
  const choices = el("fieldset", { class: "order-choices" }, el("legend", {}, setting.label), el("div", { class: "order-grid" }, radios.map((r) => [r.input, r.label])));

  const squares = Array.from({ length: paintable ? SIDE * SIDE : 0 }, (_, i) => el("div", { class: "order-square", role: "gridcell", tabindex: i ? -1 : 0, "data-cell": i }));
  const rows = Array.from({ length: paintable ? SIDE : 0 }, (_, r) => el("div", { role: "row" }, squares.slice(r * SIDE, (r + 1) * SIDE)));
  const grid = el("div", { class: "order-squares", role: "grid", "aria-label": words("control.order.board"), "aria-multiselectable": "true" }, rows);
  const line = el("div", { class: "order-line" });
  const count = el("span", { role: "status" });
  const undo = el("button", { type: "button", class: "button plain", onclick: () => paint(painted.slice(0, -1)) }, words("control.order.undo"));
  const clear = el("button", { type: "button", class: "button plain", onclick: () => paint([]) }, words("control.order.clear"));
  const board = el("div", { class: "order-board" }, el("div", { class: "order-frame" }, grid, line), el("div", { class: "order-tools" }, count, undo, clear), el("p", { class: "control-help" }, words("control.order.help")));

  function choose(name) {
    painting = name === "";
    draw();
    if (painting) squares[home].focus();
    emit();
  }

  // Nothing painted means that all squares follow row by row.
  function emit() {
    const chosen = radios.find((r) => r.input.checked)?.name;
    change(painting ? painted.join(",") || names[0] : chosen);
  }

  function paint(cells, tell = true) {
    painted = cells;
    draw();
    if (tell) emit();
  }

  const under = (event) => {
    const square = document.elementFromPoint(event.clientX, event.clientY)?.closest?.(".order-square");
    return square && grid.contains(square) ? Number(square.dataset.cell) : null;
  };

  grid.addEventListener("pointerdown", (event) => {
    const cell = under(event);
    if (event.button || cell === null) return;
    event.preventDefault();
    focus(cell);
    // Pressing a painted square takes it away again; a drag that starts on an empty one only adds.
    if (painted.includes(cell)) paint(painted.filter((c) => c !== cell));
    else {
      stroke = event.pointerId;
      grid.setPointerCapture(event.pointerId);
      paint([...painted, cell], false);
    }
  });
  grid.addEventListener("pointermove", (event) => {
    if (event.pointerId !== stroke) return;
    const cell = under(event);
    if (cell !== null && !painted.includes(cell)) paint([...painted, cell], false);
  });
  const lift = (event) => {
    if (event.pointerId !== stroke) return;
    stroke = null;
    emit();
  };
  grid.addEventListener("pointerup", lift);
  grid.addEventListener("pointercancel", lift);
  grid.addEventListener("keydown", (event) => {
    const cell = Number(event.target.dataset.cell);
    if (Number.isNaN(cell) || event.altKey || event.ctrlKey || event.metaKey) return;
    const [r, c] = [Math.floor(cell / SIDE), cell % SIDE];
    const to = { ArrowRight: c < SIDE - 1 ? cell + 1 : cell, ArrowLeft: c ? cell - 1 : cell, ArrowDown: r < SIDE - 1 ? cell + SIDE : cell, ArrowUp: r ? cell - SIDE : cell, Home: r * SIDE, End: r * SIDE + SIDE - 1 }[event.key];
    if (to !== undefined) focus(to);
    else if (event.key === " " || event.key === "Enter") paint(painted.includes(cell) ? painted.filter((x) => x !== cell) : [...painted, cell]);
    else if (event.key === "Backspace" || event.key === "Delete") paint(painted.slice(0, -1));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function focus(cell) {
    squares[home].tabIndex = -1;
    home = cell;
    squares[home].tabIndex = 0;
    squares[home].focus({ preventScroll: true });
  }

  function draw() {
    board.hidden = !painting;
    for (const r of radios) if (painting) r.input.checked = r.name === "";
    squares.forEach((square, i) => {
      const n = painted.indexOf(i);
      square.setAttribute("aria-selected", String(n >= 0));
      square.setAttribute("aria-label", words(n < 0 ? "control.order.cell" : "control.order.painted", { row: Math.floor(i / SIDE) + 1, column: (i % SIDE) + 1, n: n + 1 }));
      square.style.setProperty("--mark", n < 0 ? "transparent" : orderColour(n, Math.max(painted.length, 2)));
    });
    set(line, pathOf(painted, 10));
    count.textContent = words("control.order.count", { n: painted.length });
    undo.disabled = clear.disabled = !painted.length;
  }

  function show(text) {
    const name = names.includes(text);
    if (!name) painted = expand(text);
    // While painting, an empty board stands for the first order: the board stays.
    if (!name) painting = true;
    else if (!(painting && !painted.length && text === names[0])) painting = false;
    if (!painting) for (const r of radios) r.input.checked = r.name === text;
    draw();
  }

  show(value);
  return { nodes: [choices, board], show, reset: (text) => { painting = false; painted = []; show(text); } };
}

export function brush() {
  return svg("svg", { viewBox: "0 0 32 32", class: "order-path", "aria-hidden": "true" },
    svg("path", { d: "M5 25 C7 17 12 25 14 18 S20 12 22 9", fill: "none", style: `stroke:${orderColour(1, 4)}` }), svg("path", { d: "M20 11 L27 4", style: "stroke:var(--ink);stroke-width:3" }));
}

/** "27,28,35-37" -> cells in that order; what is no cell is left out. */
function expand(text) {
  const out = [];
  for (const part of String(text).split(",")) {
    const [low, high = low] = part.trim().split("-").map((n) => (/^\d{1,4}$/.test(n) ? Number(n) : NaN));
    for (let c = low; c <= high && c < SIDE * SIDE; c++) if (!out.includes(c)) out.push(c);
  }
  return out;
}


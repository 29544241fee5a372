// The thread: a line from each decision to the next, woven between the words.
// It never crosses text: along a line of words it arcs in the space above it, and from line to line it slips
// through the gaps between words.

/**
 * Route from one box to another. Boxes: {x, top, bottom, row, side}; rows: [{top, bottom, gaps: [x]}]. Returns path data.
 * `lift` (0..1) gives lines that share a gutter tracks of their own. `side` is how far a struck draft reaches below the
 * box from its middle: the thread leaves beside it.
 */
export function route(from, to, rows, lift) {
  if (from.row === to.row) return arc(from, to, lift);
  const down = to.row > from.row;
  const step = down ? 1 : -1;
  const lean = Math.sign(to.x - from.x) || 1;
  let x = down ? from.x + lean * from.side : from.x;
  let y = down ? from.bottom : from.top;
  let path = `M${x} ${y}`;
  // Sideways runs keep to the foot of a gutter, just above the words: its upper part belongs to struck drafts.
  const turn = (x2, y2, foot) => {
    const run = foot - 3.5 - lift * 6;
    const r = Math.max(0, Math.min(7, Math.abs(x2 - x) / 2, Math.abs(run - y), Math.abs(y2 - run)));
    const way = Math.sign(x2 - x);
    const d1 = Math.sign(run - y);
    const d2 = Math.sign(y2 - run);
    path += ` L${x} ${run - d1 * r} Q${x} ${run} ${x + way * r} ${run} L${x2 - way * r} ${run} Q${x2} ${run} ${x2} ${run + d2 * r} L${x2} ${y2}`;
    x = x2;
    y = y2;
  };
  for (let r = from.row + step; r !== to.row; r += step) {
    const share = Math.abs(r - from.row) / Math.abs(to.row - from.row);
    const wish = from.x + (to.x - from.x) * share;
    const row = rows[r];
    const gap = row.gaps.reduce((best, g) => (Math.abs(g - wish) < Math.abs(best - wish) ? g : best), row.gaps[0] ?? wish);
    turn(gap, down ? row.top : row.bottom, down ? row.top : rows[r + 1].top);
    y = down ? row.bottom : row.top;
    path += ` L${x} ${y}`;
  }
  if (down) turn(to.x, to.top, to.top);
  else turn(to.x - lean * to.side, to.bottom, rows[to.row + 1].top);
  return path;
}

function arc(from, to, lift) {
  const h = 4.5 + 6 * lift;
  const way = Math.sign(to.x - from.x);
  const r = Math.min(Math.abs(to.x - from.x) / 2, 9);
  const y = from.top - h;
  return `M${from.x} ${from.top} C${from.x} ${y} ${from.x + way * r * 0.4} ${y} ${from.x + way * r} ${y}`
    + ` L${to.x - way * r} ${y} C${to.x - way * r * 0.4} ${y} ${to.x} ${y} ${to.x} ${to.top}`;
}

/** Colour of decision k of m: the order ramp from dark to bright. */
export function orderColour(k, m) {
  const share = m > 1 ? k / (m - 1) : 0;
  const [a, b, part] = share < 0.5 ? ["--order-0", "--order-1", share * 2] : ["--order-1", "--order-2", share * 2 - 1];
  return `color-mix(in oklab, var(${b}) ${Math.round(part * 100)}%, var(${a}))`;
}

/** How strongly a link is drawn that lies `age` decisions back. */
export function fade(age, over) {
  const floor = over ? 0.32 : 0.07;
  return Math.max(floor, 0.95 * 0.74 ** age);
}

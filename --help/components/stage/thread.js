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
  // Between two lines of words the thread falls first and swings sideways low, just above the next line: the upper part
  // of a gutter belongs to struck drafts. Going up it is the same way backwards.
  const swing = (x2, y2) => {
    const [early, late] = down ? [0.88 - 0.1 * lift, 0.5] : [0.5, 0.12 + 0.1 * lift];
    path += ` C${x} ${y + (y2 - y) * early} ${x2} ${y + (y2 - y) * late} ${x2} ${y2}`;
    x = x2;
    y = y2;
  };
  for (let r = from.row + step; r !== to.row; r += step) {
    const share = Math.abs(r - from.row) / Math.abs(to.row - from.row);
    const wish = from.x + (to.x - from.x) * share;
    const row = rows[r];
    const gap = row.gaps.reduce((best, g) => (Math.abs(g - wish) < Math.abs(best - wish) ? g : best), row.gaps[0] ?? wish);
    swing(gap, down ? row.top : row.bottom);
    y = down ? row.bottom : row.top;
    path += ` L${x} ${y}`;
  }
  swing(down ? to.x : to.x - lean * to.side, down ? to.top : to.bottom);
  return path;
}

/** A stitch: a shallow bow over the words between, low enough to stay clear of the line above. */
function arc(from, to, lift) {
  const reach = to.x - from.x;
  const bow = Math.min(5 + Math.abs(reach) * 0.03, 9.5 + 3 * lift) * 1.33;
  const lean = Math.sign(reach) * Math.min(Math.abs(reach) * 0.22, 40);
  const y = from.top - bow;
  return `M${from.x} ${from.top} C${from.x + lean} ${y} ${to.x - lean} ${y} ${to.x} ${to.top}`;
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

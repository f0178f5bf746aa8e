// The ranked dots: one dot for every component, the strongest on the left, its height the alignment g; a band shows
// what chance gives, or random directions. Says how ranks are laid out; map_host.js gives it its life, dots_paint.js its look.

import {clamp, codeOf} from './map_colors.js';
import {span, zoomed} from './map_frame.js';
import {dotSize, paintRanked, ruler} from './dots_paint.js';
import {host} from './map_host.js';
import {beyondWords, legendItems, one} from './map_words.js';

const MARGIN = {left: 58, right: 10, top: 10, bottom: 42};
const NEAR = 8;   // CSS pixels to either side in which the nearest dot is looked for

/** Global numbers of the components of a grid, the largest |g| first. */
const ranked = ({cells, g}) => {
  const size = g.map(Math.abs);
  return cells.filter(i => i >= 0).sort((a, b) => size[b] - size[a] || a - b);
};
const prepare = state => {
  state.order = ranked(state.grid);
  state.heightOf = Float32Array.from(state.order, i => state.grid.g[i]);   // by rank, which reads faster
  state.rank = new Map();
  state.cache = {};
};

/** The dot nearest to a place of the plot, or the rank that lies across from it if `exact`. */
const dotAt = (state, x, y, exact) => {
  const {order, view, frame, drawn, grid} = state, rule = ruler(order.length, view);
  const reach = NEAR * frame.ratio / frame.w;
  const rankAt = t => clamp(Math.floor(rule.from(t)), view.c0, view.c1 - 1), here = rankAt(x);
  if (exact) return [0, here];
  let best = here, least = Infinity;
  for (let r = rankAt(Math.max(0, x - reach)), end = rankAt(Math.min(1, x + reach)); r <= end; r++) {
    const dx = drawn.x[r - view.c0] - frame.x - x * frame.w, dy = drawn.up.y(grid.g[order[r]]) - frame.y - y * frame.h;
    if (dx * dx + dy * dy < least) { least = dx * dx + dy * dy; best = r; }
  }
  return [0, best];
};

const rectOf = (state, a, b) => {
  const {order, view, frame, drawn, grid} = state, {ratio} = frame, {c0, c1} = span(a, b);
  const from = Math.max(view.c0, c0), to = Math.min(view.c1, c1);
  if (from >= to) return null;
  if (c1 - c0 === 1) {
    const half = dotSize(state) + 2, x = drawn.x[c0 - view.c0] / ratio, y = drawn.up.y(grid.g[order[c0]]) / ratio;
    return {x: x - half, y: y - half, w: 2 * half, h: 2 * half};
  }
  const rule = ruler(order.length, view), x = (frame.x + rule.to(from) * frame.w) / ratio;
  return {x, y: frame.y / ratio, w: (frame.x + rule.to(to) * frame.w) / ratio - x, h: frame.h / ratio};
};

const cellOf = ({order, rank}, i) => {
  if (!(i >= 0)) return null;
  if (!rank.has(i)) rank.set(i, order.indexOf(i));
  return rank.get(i) < 0 ? null : [0, rank.get(i)];
};

const band = (kind, grid, edit) => edit?.chance ? ['band', `its band of chance; beyond it: ${beyondWords(edit.chance.beyond[kind])}`]
  : grid.chance ? ['band', `random directions stay below |g| = ${grid.chance.toPrecision(2)}`] : null;
const legend = ({kind, grid, edit, shade, marks, drawn, frame}, table) => ({
  full: table.css(codeOf(0.67, true)), pale: shade.masked ? table.inks.hatch : table.css(codeOf(0.67, false)),
  items: legendItems(kind, {compared: Boolean(edit), marks, chance: band(kind, grid, edit)}),
  note: drawn.x.length > frame.w / frame.ratio / 2
    ? `Where dots overlap, edited ones lie on top${edit?.chance ? ' and the band is the mean of theirs' : ''}. Zoom in to see every ${one(kind)}.` : '',
});

const PLAN = {
  margin: MARGIN, buttons: [['fold', '|g|', 'Show the size |g| without the sign']], prepare,
  size: ({order}) => [1, order.length],
  height: () => 300,
  id: ({order}, [, rank]) => order[rank],
  paint: paintRanked, at: dotAt, rect: rectOf, cell: cellOf, legend,
  zooms: ({order, view}, way, cell) => zoomed(view, [1, order.length], way === 'in' ? 1 / 3 : 3, cell),
  actions: (state, draw) => ({
    fold: button => {
      state.folded = !state.folded;
      button.setAttribute('aria-pressed', String(state.folded));
      draw();
    },
  }),
};

export const dots = (root, options) => host(root, options, PLAN);

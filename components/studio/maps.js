// The heatmap: layers by components, coloured by alignment, strength or firing; full colour where the edit changes a
// component, pale elsewhere. Says how the grid is laid out; map_host.js gives it its life and map_paint.js its look.

import {clamp, codeOf} from './map_colors.js';
import {span, zoomed} from './map_frame.js';
import {host} from './map_host.js';
import {edges, outlines, paintMap} from './map_paint.js';
import {beyondWords, crowdWords, legendItems} from './map_words.js';

const MARGIN = {left: 42, right: 8, top: 6, bottom: 42};
const QUICK = 200;   // more columns than these are zoomed in larger steps

/** The cell under a place of the plot: the one whose colour is seen there, or by plain arithmetic if `exact`. */
const cellAt = ({view, drawn}, x, y, exact) => {
  const row = Math.floor(y * (view.r1 - view.r0)), seen = drawn.shown[row * drawn.width + Math.floor(x * drawn.width)];
  return [view.r0 + row, exact || seen < 0 ? view.c0 + Math.floor(x * (view.c1 - view.c0)) : seen];
};

const rectOf = ({view, frame}, a, b) => {
  const range = span(a, b), at = edges(frame, view), {ratio} = frame;
  const r0 = Math.max(view.r0, range.r0), r1 = Math.min(view.r1, range.r1);
  const c0 = Math.max(view.c0, range.c0), c1 = Math.min(view.c1, range.c1);
  if (r0 >= r1 || c0 >= c1) return null;
  const x = at.x(c0) / ratio, y = at.y(r0) / ratio;
  return {x, y, w: at.x(c1) / ratio - x, h: at.y(r1) / ratio - y};
};

/** Looked for once for each component that the page has shown. */
const cellOf = ({grid}, i) => {
  if (!(i >= 0)) return null;
  grid.found ||= new Map();
  if (!grid.found.has(i)) grid.found.set(i, grid.cells.indexOf(i));
  const at = grid.found.get(i);
  return at < 0 ? null : [Math.floor(at / grid.widest), at % grid.widest];
};

/** Rows are zoomed once cells are wider than high, so that wide layers come apart while all layers stay in sight. */
const zooms = ({grid, view, frame}, way, cell) => {
  const at = edges(frame, view), size = [grid.layers, grid.widest];
  if (way === 'out') return zoomed(view, size, 4, cell);
  return zoomed(view, size, view.c1 - view.c0 > QUICK ? 1 / 4 : 1 / 2, cell, at.w >= at.h);
};

const legend = ({kind, grid, edit, shade, marks, view, frame, drawn}, table) => {
  const crowd = (view.c1 - view.c0) / drawn.width, outlined = outlines(edges(frame, view));
  return {
    full: table.css(codeOf(0.67, true)), pale: table.css(codeOf(shade.masked ? 0 : 0.67, false)),
    items: legendItems(kind, {compared: Boolean(edit), marks, absent: grid.absent, outlined, chance: edit?.chance
      ? [`beyond${outlined ? ' s2e-map-corner' : ''}`, `beyond its band of chance: ${beyondWords(edit.chance.beyond[kind])}`] : null}),
    note: crowd > 1 ? crowdWords(kind, crowd) : '',
  };
};

const PLAN = {
  margin: MARGIN, buttons: [], prepare: () => {}, actions: () => ({}),
  size: ({grid}) => [grid.layers, grid.widest],
  height: ({grid}) => clamp(grid.layers * 34, 200, 460) + MARGIN.top + MARGIN.bottom,
  id: ({grid}, [row, column]) => grid.cells[row * grid.widest + column],
  paint: paintMap, at: cellAt, rect: rectOf, cell: cellOf, zooms, legend,
};

export const heatmap = (root, options) => host(root, options, PLAN);

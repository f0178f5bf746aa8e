// Windows and rulers: which rows and columns are on show, how zooming moves them, and where they lie on a canvas.
// A window {r0, r1, c0, c1} holds whole cells and ends before r1 and c1. Knows no colour and no component.

import {clamp} from './map_colors.js';

export const whole = ([rows, columns]) => ({r0: 0, r1: rows, c0: 0, c1: columns});
export const isWhole = (view, [rows, columns]) => view.r1 - view.r0 === rows && view.c1 - view.c0 === columns;
export const holds = (view, [row, column]) => row >= view.r0 && row < view.r1 && column >= view.c0 && column < view.c1;

/** The window between two cells, whichever corners they are. */
export const span = (a, b) => ({
  r0: Math.min(a[0], b[0]), r1: Math.max(a[0], b[0]) + 1, c0: Math.min(a[1], b[1]), c1: Math.max(a[1], b[1]) + 1,
});

const scaled = (low, high, total, factor, at) => {
  const count = clamp(Math.round((high - low) * factor), Math.min(2, total), total);
  const from = Math.round(at + 0.5 - (at + 0.5 - low) * count / (high - low));   // what is under `at` stays there
  const start = clamp(from, Math.max(0, at + 1 - count), Math.min(at, total - count));
  return [start, start + count];
};
/** `factor` below 1 zooms in on a cell; `rows` false leaves the rows as they are. */
export const zoomed = (view, [rows, columns], factor, [row, column], alsoRows = true) => {
  const [c0, c1] = scaled(view.c0, view.c1, columns, factor, column);
  const [r0, r1] = alsoRows ? scaled(view.r0, view.r1, rows, factor, row) : [view.r0, view.r1];
  return {r0, r1, c0, c1};
};

/** The window moved by whole cells, as far as the grid goes. */
export const moved = (view, [rows, columns], down, right) => {
  const dy = clamp(down, -view.r0, rows - view.r1), dx = clamp(right, -view.c0, columns - view.c1);
  return {r0: view.r0 + dy, r1: view.r1 + dy, c0: view.c0 + dx, c1: view.c1 + dx};
};
/** The window moved as little as needed to hold a cell. */
export const following = (view, size, [row, column]) => {
  const by = (n, low, high) => n < low ? n - low : n >= high ? n - high + 1 : 0;
  return moved(view, size, by(row, view.r0, view.r1), by(column, view.c0, view.c1));
};

/** Whole numbers from low to high, at most about `most`, in steps of 1, 2 or 5 times a power of ten. */
export const ticks = (low, high, most) => {
  const least = Math.max(1, (high - low) / Math.max(1, most)), power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= least), found = [];
  for (let n = Math.ceil(low / step) * step; n <= high; n += step) found.push(n);
  return found;
};

/** A canvas of `width` by `height` CSS pixels and the plot inside its margins, both in pixels of the device. */
export const frameOf = (width, height, ratio, margin) => {
  const px = n => Math.round(n * ratio), w = px(width), h = px(height);
  const x = px(margin.left), y = px(margin.top);
  const inner = {w: Math.max(1, w - x - px(margin.right)), h: Math.max(1, h - y - px(margin.bottom))};
  return {ratio, width: w, height: h, x, y, ...inner};
};

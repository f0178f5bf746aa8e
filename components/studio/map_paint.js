// Paints the heatmap on a canvas: cells, hatching where a layer has no component, outlines, numbers and signs. Where
// cells are narrower than a pixel, one cell is chosen for each pixel. Knows figures and pixels; no person, no element.

import {codeOf, clamp} from './map_colors.js';
import {ticks} from './map_frame.js';
import {one, short} from './map_words.js';
import {counted} from './dom.js';
import {axisText, handSign} from './map_signs.js';

const scratch = document.createElement('canvas');

/** The column that each pixel of a row shows: the strongest edited cell, else the strongest; -1 where there is none. */
const choose = (grid, shade, view, width) => {
  const n = view.c1 - view.c0, rows = view.r1 - view.r0, {cells, widest} = grid;
  const shown = new Int32Array(rows * width).fill(-1), best = new Float32Array(width), pixel = new Uint32Array(n);
  for (let c = 0; c < n; c++) pixel[c] = Math.floor((c + 0.5) * width / n);
  const {value} = shade, edited = shade.edited || new Uint8Array(value.length);
  const bonus = 2 * shade.scale;   // puts every edited cell above all others
  for (let r = 0; r < rows; r++) {
    const row = (view.r0 + r) * widest + view.c0, out = r * width;
    best.fill(-1);
    for (let c = 0; c < n; c++) {
      const i = cells[row + c];
      if (i < 0) continue;
      const x = value[i], size = (x < 0 ? -x : x) + edited[i] * bonus, p = pixel[c];
      if (size > best[p]) { best[p] = size; shown[out + p] = view.c0 + c; }
    }
  }
  return shown;
};

const cellCode = (shade, i) => {
  const full = shade.edited === null || shade.edited[i] === 1;
  return codeOf(shade.masked && !full ? 0 : shade.value[i] / shade.scale, full);
};

const paintCells = (ctx, frame, {grid, shade, view}, table) => {
  const rows = view.r1 - view.r0, width = Math.min(view.c1 - view.c0, frame.w);
  const shown = choose(grid, shade, view, width);
  const image = new ImageData(width, rows), pixels = new Uint32Array(image.data.buffer);
  for (let r = 0, p = 0; r < rows; r++) {
    const row = (view.r0 + r) * grid.widest;
    for (let x = 0; x < width; x++, p++) {
      if (shown[p] >= 0) pixels[p] = table.packed[cellCode(shade, grid.cells[row + shown[p]])];
    }
  }
  scratch.width = width; scratch.height = rows;
  scratch.getContext('2d').putImageData(image, 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(scratch, 0, 0, width, rows, frame.x, frame.y, frame.w, frame.h);
  return {shown, width};
};

/** Where a cell begins, in pixels of the device; the same rounding as drawImage without smoothing. */
export const edges = (frame, view) => ({
  x: c => frame.x + Math.round((c - view.c0) * frame.w / (view.c1 - view.c0)),
  y: r => frame.y + Math.round((r - view.r0) * frame.h / (view.r1 - view.r0)),
  w: frame.w / (view.c1 - view.c0) / frame.ratio,   // of a cell, in CSS pixels
  h: frame.h / (view.r1 - view.r0) / frame.ratio,
});

const clearGaps = (ctx, frame, view, at) => {
  const gap = Math.round((at.w >= 14 && at.h >= 10 ? 2 : at.h >= 8 ? 1 : 0) * frame.ratio), before = gap >> 1;
  if (gap) for (let r = view.r0 + 1; r < view.r1; r++) ctx.clearRect(frame.x, at.y(r) - before, frame.w, gap);
  if (gap && at.w >= 14) {
    for (let c = view.c0 + 1; c < view.c1; c++) ctx.clearRect(at.x(c) - before, frame.y, gap, frame.h);
  }
};

/** Neighbours in a row for which `kindOf` gives the same non-zero number, as {row, from, to, kind}; ends included. */
export const runs = (grid, view, kindOf) => {
  const found = [];
  for (let row = view.r0; row < view.r1; row++) {
    for (let c = view.c0, run = null; c < view.c1; c++) {
      const kind = kindOf(grid.cells[row * grid.widest + c]);
      if (run !== null && run.kind === kind) run.to = c;
      else { run = kind ? {row, from: c, to: c, kind} : null; if (run) found.push(run); }
    }
  }
  return found;
};

const hatching = (ctx, ratio, color) => {
  const size = Math.round(7 * ratio), tile = document.createElement('canvas'), pen = tile.getContext('2d');
  tile.width = tile.height = size;
  pen.strokeStyle = color; pen.lineWidth = ratio;
  for (const shift of [-size, 0, size]) { pen.moveTo(shift - 1, size + 1); pen.lineTo(shift + size + 1, -1); }
  pen.stroke();
  return ctx.createPattern(tile, 'repeat');
};
const paintAbsent = (ctx, frame, {grid, view}, at, inks) => {
  if (!grid.absent) return;
  ctx.fillStyle = hatching(ctx, frame.ratio, inks.hatch);
  for (const {row, from, to} of runs(grid, view, i => i < 0 ? 1 : 0)) {
    const x = at.x(from), y = at.y(row), pad = frame.ratio;
    ctx.fillRect(x + pad, y + pad, at.x(to + 1) - x - 2 * pad, at.y(row + 1) - y - 2 * pad);
  }
};

const eachCell = (grid, view, visit) => {
  for (let row = view.r0; row < view.r1; row++) {
    for (let c = view.c0; c < view.c1; c++) {
      const i = grid.cells[row * grid.widest + c];
      if (i >= 0) visit(i, row, c);
    }
  }
};
/** Whether cells of this size are outlined where edited. */
export const outlines = at => at.w >= 14 && at.h >= 10;
const paintOutlines = (ctx, frame, {grid, shade, view}, at, inks) => {
  if (shade.edited === null || !outlines(at)) return;
  const thick = Math.max(1, Math.round(2 * frame.ratio)), inset = Math.round(frame.ratio) + thick / 2;
  ctx.strokeStyle = inks.line; ctx.lineWidth = thick;
  eachCell(grid, view, (i, row, c) => {
    if (!shade.edited[i]) return;
    const x = at.x(c) + inset, y = at.y(row) + inset;
    ctx.strokeRect(x, y, at.x(c + 1) - inset - x, at.y(row + 1) - inset - y);
  });
};
const paintNumbers = (ctx, frame, {grid, shade, view, font}, at, table) => {
  if (at.w < 44 || at.h < 20) return;
  ctx.font = `${11 * frame.ratio}px ${font}`; ctx.textAlign = 'center'; ctx.textBaseline = 'middle';
  eachCell(grid, view, (i, row, c) => {
    if (shade.masked && !shade.edited[i]) return;
    ctx.fillStyle = table.inkOn(cellCode(shade, i));
    const aside = shade.hand && shade.hand[i] && at.w < 60 ? 4 * frame.ratio : 0;   // makes room for the sign
    const x = (at.x(c) + at.x(c + 1)) / 2 - aside, y = (at.y(row) + at.y(row + 1)) / 2 + 0.5 * frame.ratio;
    ctx.fillText(short(shade.value[i]), x, y);
  });
};

/** Marks what stands out of its band of chance: the corner of a cell, or where cells are small the top of its pixel. */
const paintBeyond = (ctx, frame, {grid, shade, view, edit}, {shown, width}, at, table) => {
  const band = edit?.chance?.band, {ratio} = frame;
  if (!band) return;
  const isBeyond = i => Math.abs(grid.g[i]) > band[i];
  if (outlines(at)) {
    const size = Math.round(Math.min(9, at.h / 2) * ratio), inset = Math.round(3 * ratio);
    eachCell(grid, view, (i, row, c) => {
      if (!isBeyond(i)) return;
      const x = at.x(c) + inset, y = at.y(row) + inset;
      ctx.fillStyle = table.inkOn(cellCode(shade, i));
      ctx.beginPath();
      ctx.moveTo(x, y); ctx.lineTo(x + size, y); ctx.lineTo(x, y + size);
      ctx.fill();
    });
    return;
  }
  ctx.fillStyle = table.inks.line;
  const thick = Math.max(1, Math.round(Math.min(3, at.h / 5) * ratio));
  for (let p = 0; p < shown.length; p++) {
    const row = view.r0 + Math.floor(p / width), pixel = p % width;
    if (shown[p] < 0 || !isBeyond(grid.cells[row * grid.widest + shown[p]])) continue;
    const from = frame.x + Math.floor(pixel * frame.w / width), to = frame.x + Math.floor((pixel + 1) * frame.w / width);
    ctx.fillRect(from, at.y(row) + Math.round(ratio), Math.max(1, to - from), thick);
  }
};

/** A sign in every cell, or one for a run of cells too narrow for it; signs never overlap. */
const paintHand = (ctx, frame, {grid, shade, view, marks}, at, inks) => {
  if (!marks[1] && !marks[2]) return;
  const size = clamp(Math.min(at.w, at.h) * 0.3, 5, 8), corner = at.w >= 44 && at.h >= 20, {ratio} = frame;
  const last = [0, -1e9];   // row and place of the sign before
  const sign = (run, x, y) => {
    if (last[0] === run.row && x - last[1] < (size + 1) * ratio) return;
    last[0] = run.row; last[1] = x;
    handSign(ctx, run.kind, x, y, size, ratio, inks);
  };
  for (const run of runs(grid, view, i => i < 0 ? 0 : shade.hand[i])) {
    const middle = (at.y(run.row) + at.y(run.row + 1)) / 2;
    if (at.w >= size + 1) {
      for (let c = run.from; c <= run.to; c++) {
        if (corner) sign(run, at.x(c + 1) - (size / 2 + 5) * ratio, at.y(run.row) + (size / 2 + 5) * ratio);
        else sign(run, (at.x(c) + at.x(c + 1)) / 2, middle);
      }
      continue;
    }
    const x = at.x(run.from), end = at.x(run.to + 1);
    ctx.fillStyle = inks.line;
    if (end - x > 2 * ratio) ctx.fillRect(x, middle - ratio, end - x, 2 * ratio);
    sign(run, (x + end) / 2, middle);
  }
};

const paintAxes = (ctx, frame, {grid, view, kind, font}, at, inks) => {
  const text = axisText(ctx, frame, font, inks);
  for (const c of ticks(view.c0, view.c1 - 1, frame.w / frame.ratio / (grid.widest > 999 ? 48 : 30))) {
    text.below((at.x(c) + at.x(c + 1)) / 2, counted(c));
  }
  for (const r of ticks(view.r0, view.r1 - 1, frame.h / frame.ratio / 14)) {
    text.left((at.y(r) + at.y(r + 1)) / 2, String(r));
  }
  text.titles(one(kind), 'layer');
};

/** Paints everything, and gives the column that every pixel of every row shows: {shown, width}. */
export const paintMap = (ctx, frame, picture, table) => {
  const at = edges(frame, picture.view), {inks} = table;
  ctx.clearRect(0, 0, frame.width, frame.height);
  const cells = paintCells(ctx, frame, picture, table);
  clearGaps(ctx, frame, picture.view, at);
  paintAbsent(ctx, frame, picture, at, inks);
  paintOutlines(ctx, frame, picture, at, inks);
  paintNumbers(ctx, frame, picture, at, table);
  paintBeyond(ctx, frame, picture, cells, at, table);
  if (picture.shade.hand) paintHand(ctx, frame, picture, at, inks);
  paintAxes(ctx, frame, picture, at, inks);
  return cells;
};

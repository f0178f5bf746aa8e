// Paints the ranked dots on a canvas: the chance band, the axes, and a dot for every component, edited ones on top.
// Dots closer than a pixel are drawn once for each sign and state. Knows ranks, figures and pixels; no person.

import {clamp, codeOf} from './map_colors.js';
import {ticks} from './map_frame.js';
import {axisText, handSign} from './map_signs.js';
import {counted} from './dom.js';

const SOFT = 20;     // up to about this rank all steps are alike; then they shrink as those of a logarithm
const FEW = 120;     // components that have room side by side keep equal steps
const TONES = 12;    // shades of a sign; a dot of each is drawn once and stamped

/** Where a rank lies from 0 to 1 across the window, and the rank that lies there. */
export const ruler = (count, {c0, c1}) => {
  const squeezed = count > FEW, u = squeezed ? r => Math.log1p(r / SOFT) : r => r, inverse = squeezed ? t => SOFT * Math.expm1(t) : t => t;
  const from = u(c0), size = u(c1) - from;
  return {squeezed: squeezed && (c1 + SOFT) / (c0 + SOFT) > 3, to: r => (u(r) - from) / size, from: t => inverse(from + t * size)};
};

/** The heights of a window: its top figure, and where a figure lies in pixels of the device. */
export const heights = (frame, {grid, order, view, folded}) => {
  const top = 1.1 * Math.max(Math.abs(grid.g[order[view.c0]] || 0), 1.2 * (grid.chance || 0)) || 1;
  const zero = folded ? frame.y + frame.h : frame.y + frame.h / 2, unit = (folded ? frame.h : frame.h / 2) / top;
  return {top, zero, unit, y: g => zero - (folded ? Math.abs(g) : g) * unit};
};

/** The place across of every rank in the window, in pixels of the device; kept while frame and window stay the same. */
const places = (frame, state) => {
  const {order, view, cache} = state, key = [frame.x, frame.w, view.c0, view.c1].join();
  if (cache.key === key) return cache.x;
  const rule = ruler(order.length, view), x = new Float32Array(view.c1 - view.c0);
  for (let n = 0; n < x.length; n++) x[n] = frame.x + rule.to(view.c0 + n + 0.5) * frame.w;
  Object.assign(cache, {key, x});
  return x;
};

/** Per pixel, sign and state the first and the last rank: four groups a pixel, as negative + 2 * edited. */
const groups = (x, frame, {order, view, shade}) => {
  const slots = Math.ceil(frame.w / frame.ratio), first = new Int32Array(4 * slots).fill(-1), last = new Int32Array(4 * slots);
  const {edited} = shade, {g} = shade;
  for (let n = 0; n < x.length; n++) {
    const i = order[view.c0 + n], slot = ((x[n] - frame.x) / frame.ratio) | 0;
    const k = 4 * slot + (g[i] < 0 ? 1 : 0) + (edited === null || edited[i] === 1 ? 2 : 0);
    if (first[k] < 0) first[k] = n;
    last[k] = n;
  }
  return {slots, first, last};
};

const radius = count => count <= 60 ? 5 : count <= 400 ? 4 : 3;

/** Draws dots of a colour from a stamp. */
const stamper = (ctx, ratio, size, table) => {
  const stamps = new Map(), half = Math.ceil((size + 1) * ratio);
  const stampOf = (tone, full) => {
    const key = tone + (full ? 1000 : 0);
    if (stamps.has(key)) return stamps.get(key);
    const tile = document.createElement('canvas'), pen = tile.getContext('2d');
    tile.width = tile.height = 2 * half;
    pen.arc(half, half, size * ratio, 0, 7);
    pen.fillStyle = tone === 0 ? table.inks.hatch : table.css(codeOf(tone / TONES, full));
    pen.fill();
    if (full) { pen.strokeStyle = table.inks.paper; pen.lineWidth = 0.75 * ratio; pen.stroke(); }
    stamps.set(key, tile);
    return tile;
  };
  return (tone, full, x, y) => ctx.drawImage(stampOf(tone, full), Math.round(x - half), Math.round(y - half));
};

/** The shade of a dot; never so light that the dot is lost on the paper, and 0 (grey) only for a figure of 0. */
const toneOf = (shade, i, full) => {
  const x = shade.masked && !full ? 0 : clamp(shade.value[i] / shade.scale, -1, 1);
  return x === 0 ? 0 : Math.sign(x) * Math.round((0.45 + 0.55 * Math.abs(x)) * TONES);
};

const paintDots = (ctx, frame, state, x, up, table) => {
  const {order, view, shade, grid} = state, {ratio} = frame, size = radius(x.length), stamp = stamper(ctx, ratio, size, table);
  const {slots, first, last} = groups(x, frame, {order, view, shade: {...shade, g: grid.g}});
  const step = size * ratio;
  for (const full of [0, 2]) {
    for (let slot = 0; slot < slots; slot++) {
      for (const turn of [0, 1]) {
        const k = 4 * slot + full + (turn ^ (slot & 1));   // the signs take turns at lying on top
        if (first[k] < 0) continue;
        const i = order[view.c0 + first[k]], tone = toneOf(shade, i, full > 0), end = up.y(grid.g[order[view.c0 + last[k]]]);
        let y = up.y(grid.g[i]);
        stamp(tone, full > 0, x[first[k]], y);
        while (Math.abs(end - y) > step) { y += Math.sign(end - y) * step; stamp(tone, full > 0, x[first[k]], y); }
        if (last[k] !== first[k]) stamp(tone, full > 0, x[last[k]], end);
      }
    }
  }
};

/** Signs stand on the far side of their dots, and never overlap. */
const paintHand = (ctx, frame, {order, view, shade, grid, marks, folded}, x, up, inks) => {
  if (!shade.hand || (!marks[1] && !marks[2])) return;
  const last = [-1e9, -1e9], away = radius(x.length) + 6;
  for (let n = 0; n < x.length; n++) {
    const i = order[view.c0 + n], kind = shade.hand[i], side = grid.g[i] < 0 && !folded ? 1 : 0;
    if (!kind || x[n] - last[side] < 8 * frame.ratio) continue;
    last[side] = x[n];
    handSign(ctx, kind, x[n], up.y(grid.g[i]) + (side ? away : -away) * frame.ratio, 6, frame.ratio, inks);
  }
};

const valueTicks = (top, most) => {
  const least = top / most, power = 10 ** Math.floor(Math.log10(least)), step = [1, 2, 5, 10].map(n => n * power).find(n => n >= least);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({length: Math.floor(top / step) + 1}, (_, n) => [n * step, (n * step).toFixed(n ? digits : 0)]);
};
const rankTicks = (rule, view, width) => {
  if (!rule.squeezed) return ticks(view.c0 + 1, view.c1, width / 48);
  const found = [];
  let before = -1e9;
  for (let power = 1; power <= view.c1; power *= 10) {
    for (const rank of [power, 2 * power, 5 * power]) {
      const at = rule.to(rank - 0.5) * width;
      if (rank > view.c0 && rank <= view.c1 && at - before > 38) { found.push(rank); before = at; }
    }
  }
  return found;
};

const paintGround = (ctx, frame, state, up, inks, theme) => {
  const {grid, folded, view, order, font} = state, {ratio, x, y, w, h} = frame, text = axisText(ctx, frame, font, inks);
  const line = (at, color) => { ctx.fillStyle = color; ctx.fillRect(x, Math.round(at), w, Math.max(1, Math.round(ratio))); };
  const band = Math.min(grid.chance * up.unit, folded ? h : h / 2);
  ctx.fillStyle = theme === 'dark' ? 'rgba(255,255,255,0.09)' : 'rgba(24,24,27,0.07)';
  ctx.fillRect(x, Math.round(up.zero - band), w, Math.round(folded ? band : 2 * band));
  for (const [value, label] of valueTicks(up.top, folded ? 5 : 3)) {
    line(up.zero - value * up.unit, value ? inks.grid : inks.faint);
    text.left(up.zero - value * up.unit, value && !folded ? `+${label}` : label);
    if (value && !folded) { line(up.zero + value * up.unit, inks.grid); text.left(up.zero + value * up.unit, `−${label}`); }
  }
  const rule = ruler(order.length, view);
  for (const rank of rankTicks(rule, view, w / ratio)) text.below(x + rule.to(rank - 0.5) * w, counted(rank));
  text.titles(rule.squeezed ? 'rank by |g|, closer together to the right' : 'rank by |g|', folded ? 'size |g|' : 'alignment g');
};

/** Names the band where it is empty: the strongest components stand far outside of it. */
const paintBandName = (ctx, frame, {grid, folded, font}, up, inks) => {
  const {ratio, x} = frame, band = grid.chance * up.unit, size = 11 * ratio;
  if (!grid.chance) return;
  ctx.font = `${size}px ${font}`; ctx.textAlign = 'left'; ctx.textBaseline = 'middle';
  ctx.lineWidth = 3 * ratio; ctx.lineJoin = 'round'; ctx.strokeStyle = inks.paper; ctx.fillStyle = inks.soft;
  const roomy = band > 2 * size, y = roomy ? up.zero - band / 2 : up.zero - band - size, left = x + 8 * ratio;
  if (!roomy || folded) ctx.strokeText('chance', left, y);
  ctx.fillText('chance', left, y);
};

/** Paints everything, and gives the place of every rank: {x, up}. */
export const paintRanked = (ctx, frame, state, table) => {
  const {inks, theme} = table, x = places(frame, state), up = heights(frame, state);
  ctx.clearRect(0, 0, frame.width, frame.height);
  paintGround(ctx, frame, state, up, inks, theme);
  paintDots(ctx, frame, state, x, up, table);
  paintHand(ctx, frame, state, x, up, inks);
  paintBandName(ctx, frame, state, up, inks);
  return {x, up};
};
export const dotSize = state => radius(state.view.c1 - state.view.c0);

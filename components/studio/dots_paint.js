// Paints the ranked dots on a canvas: the band of chance, the axes, and a dot for every component, edited ones on top.
// Dots closer than a pixel are drawn once for each sign and state. Knows ranks, figures and pixels; no person.

import {clamp, codeOf} from './map_colors.js';
import {ticks} from './map_frame.js';
import {axisText, handSign} from './map_signs.js';
import {counted} from './dom.js';

const SOFT = 20;     // up to about this rank all steps are alike; then they shrink as those of a logarithm
const FEW = 120;     // components that have room side by side keep equal steps
const TONES = 24;    // shades of a sign; a dot of each is drawn once and stamped

const radius = count => count <= 60 ? 5 : count <= 400 ? 4 : 3.5;   // of a dot, in CSS pixels

/** Where a rank lies from 0 to 1 across the window, and the rank that lies there. */
export const ruler = (count, {c0, c1}) => {
  const squeezed = count > FEW;
  const u = squeezed ? r => Math.log1p(r / SOFT) : r => r, inverse = squeezed ? t => SOFT * Math.expm1(t) : t => t;
  const from = u(c0), size = u(c1) - from;
  return {
    squeezed: squeezed && (c1 + SOFT) / (c0 + SOFT) > 3,   // a narrow window looks even
    to: r => (u(r) - from) / size, from: t => inverse(from + t * size),
  };
};

/** The heights of a window: its top figure, and where a figure lies in pixels of the device. */
export const heights = (frame, {grid, order, view, folded}, steps) => {
  const band = steps.reduce((most, step) => Math.max(most, step.band), 0);
  const top = Math.max(1.1 * Math.max(Math.abs(grid.g[order[view.c0]] || 0), band), 1.32 * steps.at(-1).band) || 1;
  const zero = folded ? frame.y + frame.h : frame.y + frame.h / 2, unit = (folded ? frame.h : frame.h / 2) / top;
  return {top, zero, unit, y: g => zero - (folded ? Math.abs(g) : g) * unit};
};

/** Per rank in the window its place in pixels of the device, and its CSS pixel; kept while the window stays. */
const places = (frame, {order, view, cache}) => {
  const key = [frame.x, frame.w, frame.ratio, view.c0, view.c1].join();
  if (cache.key === key) return cache;
  const rule = ruler(order.length, view), x = new Float32Array(view.c1 - view.c0), slot = new Uint32Array(x.length);
  for (let n = 0; n < x.length; n++) {
    const across = rule.to(view.c0 + n + 0.5) * frame.w;
    x[n] = frame.x + across;
    slot[n] = across / frame.ratio;
  }
  return Object.assign(cache, {key, x, slot, steps: null});
};

/**
 * The band across a window, as [{from, to, band}] in ranks: that of random directions is level; by chance every component
 * has its own, and those that stand as close as a dot is wide the mean of theirs.
 */
const bandSteps = (at, {grid, order, view, edit}) => {
  const own = edit?.chance?.band;
  if (!own) return [{from: view.c0, to: view.c1, band: grid.chance || 0}];
  if (at.steps && at.stepsOf === own) return at.steps;
  const steps = [], wide = 2 * radius(at.slot.length);
  for (let n = 0, r = view.c0, end = -1, sum = 0; n < at.slot.length; n++, r++) {
    if (at.slot[n] >= end) { steps.push({from: r, to: r, band: 0}); end = at.slot[n] + wide; sum = 0; }
    const step = steps.at(-1);
    step.to = r + 1;
    sum += own[order[r]];
    step.band = sum / (step.to - step.from);
  }
  return Object.assign(at, {steps, stepsOf: own}).steps;
};

/** Per pixel, sign and state the first and the last rank: four groups a pixel, as negative + 2 * edited. */
const groups = ({x, slot}, {order, heightOf, view, shade}) => {
  const slots = slot[slot.length - 1] + 1, first = new Int32Array(4 * slots).fill(-1), last = new Int32Array(4 * slots);
  const edited = shade.edited || new Uint8Array(shade.value.length).fill(1);
  for (let n = 0, r = view.c0; n < x.length; n++, r++) {
    const k = 4 * slot[n] + (heightOf[r] < 0 ? 1 : 0) + 2 * edited[order[r]];
    if (first[k] < 0) first[k] = n;
    last[k] = n;
  }
  return {slots, first, last};
};

/** The shade of a dot; never so light that the dot is lost on the paper, and 0 (grey) only for a figure of 0. */
const toneOf = (shade, i, full) => {
  const x = shade.masked && !full ? 0 : clamp(shade.value[i] / shade.scale, -1, 1), least = full ? 0.62 : 0.5;
  return x === 0 ? 0 : Math.sign(x) * Math.round((least + (1 - least) * Math.abs(x)) * TONES);
};

const stamps = new Map();   // discs of every shade, drawn once
const stampOf = (color, size) => {
  const key = color + size;
  if (stamps.has(key)) return stamps.get(key);
  const tile = document.createElement('canvas'), pen = tile.getContext('2d'), half = Math.ceil(size + 1);
  tile.width = tile.height = 2 * half;
  pen.arc(half, half, size, 0, 7);
  pen.fillStyle = color;
  pen.fill();
  if (stamps.size > 500) stamps.clear();
  stamps.set(key, tile);
  return tile;
};

/** One dot, or for several in one pixel a strip as high as all of them. */
const paintDots = (ctx, frame, state, at, up, table) => {
  const {order, view, shade, heightOf} = state, {ratio} = frame, {x} = at, size = radius(x.length) * ratio;
  const {slots, first, last} = groups(at, state);
  const colorOf = (i, full) => {
    const tone = toneOf(shade, i, full);
    return tone === 0 ? table.inks.hatch : table.css(codeOf(tone / TONES, full));
  };
  for (const full of [0, 2]) {
    for (let slot = 0; slot < slots; slot++) {
      for (const turn of [0, 1]) {
        const k = 4 * slot + full + (turn ^ (slot & 1)), n = first[k];   // the signs take turns at lying on top
        if (n < 0) continue;
        const color = colorOf(order[view.c0 + n], full > 0);
        const y = up.y(heightOf[view.c0 + n]), end = up.y(heightOf[view.c0 + last[k]]);
        if (last[k] === n) {
          const stamp = stampOf(color, size);
          ctx.drawImage(stamp, Math.round(x[n] - stamp.width / 2), Math.round(y - stamp.height / 2));
        } else {
          ctx.fillStyle = color;
          const left = Math.round(frame.x + (slot - 1) * ratio), top = Math.min(y, end) - size;
          ctx.fillRect(left, top, 3 * Math.ceil(ratio), Math.abs(end - y) + 2 * size);
        }
      }
    }
  }
};

/** Signs stand on the far side of their dots, and never overlap. */
const paintHand = (ctx, frame, {order, view, shade, heightOf, marks, folded}, x, up, inks) => {
  if (!shade.hand || (!marks[1] && !marks[2])) return;
  const last = [-1e9, -1e9], away = radius(x.length) + 8;
  for (let n = 0; n < x.length; n++) {
    const kind = shade.hand[order[view.c0 + n]];
    if (kind === 0) continue;
    const g = heightOf[view.c0 + n], side = g < 0 && !folded ? 1 : 0;
    if (x[n] - last[side] < 8 * frame.ratio) continue;
    last[side] = x[n];
    handSign(ctx, kind, x[n], up.y(g) + (side ? away : -away) * frame.ratio, 6, frame.ratio, inks);
  }
};

const valueTicks = (top, most) => {
  const least = top / most, power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= least);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({length: Math.floor(top / step) + 1}, (_, n) => [n * step, (n * step).toFixed(n ? digits : 0)]);
};
const rankTicks = (rule, view, width) => {
  if (!rule.squeezed) {
    const even = ticks(view.c0 + 1, view.c1, width / 48);
    return even[0] === 2 ? [1, ...even.filter(rank => rank !== 2)] : even;   // the first place is worth a label
  }
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

const paintGround = (ctx, frame, state, up, steps, inks, theme) => {
  const {folded, view, order, font} = state, {ratio, x, y, w, h} = frame, text = axisText(ctx, frame, font, inks);
  const line = (at, color) => {
    ctx.fillStyle = color;
    ctx.fillRect(x, Math.round(at), w, Math.max(1, Math.round(ratio)));
  };
  const rule = ruler(order.length, view), across = rank => Math.round(x + rule.to(rank) * w);
  ctx.fillStyle = theme === 'dark' ? 'rgba(255,255,255,0.13)' : 'rgba(24,24,27,0.09)';
  for (const {from, to, band} of steps) {
    const half = Math.min(band * up.unit, folded ? h : h / 2), left = across(from);
    ctx.fillRect(left, Math.round(up.zero - half), across(to) - left, Math.round(folded ? half : 2 * half));
  }
  const mark = (at, label, color) => { line(at, color); text.left(at, label); };
  for (const [value, label] of valueTicks(up.top, folded ? 5 : 3)) {
    const away = value * up.unit;
    mark(up.zero - away, value && !folded ? `+${label}` : label, value ? inks.grid : inks.faint);
    if (value && !folded) mark(up.zero + away, `−${label}`, inks.grid);
  }
  for (const rank of rankTicks(rule, view, w / ratio)) text.below(x + rule.to(rank - 0.5) * w, counted(rank));
  text.titles(rule.squeezed ? 'rank by |g|, closer together to the right' : 'rank by |g|', folded ? 'size |g|' : 'alignment g');
};

/** Names the band beside its right end, where no dot is: the weakest components lie inside of it. */
const paintBandName = (ctx, frame, {edit, font}, up, {band}, inks) => {
  const {ratio, x, w} = frame, size = 11 * ratio, name = edit?.chance ? 'chance' : 'random';
  if (!band) return;
  ctx.font = `${size}px ${font}`; ctx.textAlign = 'right'; ctx.textBaseline = 'middle';
  ctx.lineWidth = 3 * ratio; ctx.lineJoin = 'round'; ctx.strokeStyle = inks.paper; ctx.fillStyle = inks.soft;
  const right = x + w - 6 * ratio, y = up.zero - band * up.unit - size;
  ctx.strokeText(name, right, y);
  ctx.fillText(name, right, y);
};

/** Paints everything, and gives the place of every rank: {x, up}. */
export const paintRanked = (ctx, frame, state, table) => {
  const {inks, theme} = table, at = places(frame, state), steps = bandSteps(at, state), up = heights(frame, state, steps), {x} = at;
  ctx.clearRect(0, 0, frame.width, frame.height);
  paintGround(ctx, frame, state, up, steps, inks, theme);
  paintDots(ctx, frame, state, at, up, table);
  paintHand(ctx, frame, state, x, up, inks);
  paintBandName(ctx, frame, state, up, steps.at(-1), inks);
  return {x, up};
};
export const dotSize = state => radius(state.view.c1 - state.view.c0);

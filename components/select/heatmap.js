// What a person does with the heatmap: hover, click, drag, keys, tools. Second half of the function heatmap_draw.js
// begins; also receives `props`, `trigger` and `watch`. It never decides what is selected: it sends the action and
// draws what comes back.

const stage = find('-stage'), mark = find('-cursor'), box = find('-box'), tip = find('-tip'), live = find('-live');
let cursor = null;         // [row, column] the pointer or the keys are on
let anchor = null;         // where a range begins
let start = null;          // a pointer that is down
let seq = 0;
let waiting = [];          // picks that Python has not answered yet, each with its overlay
let keyRange = false;      // Shift with arrows has marked anchor..cursor

// ---- overlays in pixels: the cell pointed at, the range, the card with the figures ---------------------------------

const frame = () => {
  const {xaxis: x, yaxis: y} = gd._fullLayout;
  return {left: x._offset, top: y._offset, width: x._length, height: y._length};
};
const cellAt = event => {   // the cell under the pointer; null outside the grid
  const f = frame(), edge = gd.getBoundingClientRect();
  const x = (event.clientX - edge.left - f.left) / f.width, y = (event.clientY - edge.top - f.top) / f.height;
  if (x < 0 || x >= 1 || y < 0 || y >= 1) return null;
  const c = Math.round(view.x[0] + x * (view.x[1] - view.x[0])), r = Math.round(view.y[1] + y * (view.y[0] - view.y[1]));
  return [clamp(r, 0, v.layers - 1), clamp(c, 0, v.shown - 1)];
};
const put = (overlay, a, b) => {   // lay an overlay over the cells from a to b, cut at the edge of the picture
  overlay.hidden = !a;
  if (!a) return;
  const f = frame(), across = c => f.left + f.width * clamp((c - view.x[0]) / (view.x[1] - view.x[0]), 0, 1);
  const down = r => f.top + f.height * clamp((r - view.y[1]) / (view.y[0] - view.y[1]), 0, 1);
  const [l, r] = [across(Math.min(a[1], b[1]) - 0.5), across(Math.max(a[1], b[1]) + 0.5)];
  const [t, d] = [down(Math.min(a[0], b[0]) - 0.5), down(Math.max(a[0], b[0]) + 0.5)];
  Object.assign(overlay.style, {left: `${l}px`, top: `${t}px`, width: `${r - l}px`, height: `${d - t}px`});
  overlay.hidden = r <= l || d <= t;
};
const row = (tag, text) => Object.assign(document.createElement(tag), {textContent: text});
const card = () => {
  tip.hidden = mark.hidden;
  if (mark.hidden) return;
  const id = cellId(cursor), list = document.createElement('dl');
  if (exists(id)) for (const [key, text] of lines(id)) list.append(row('dt', key), row('dd', text));
  tip.replaceChildren(row('strong', nameOf(cursor)), list);
  const middle = mark.offsetLeft + mark.offsetWidth / 2, below = mark.offsetTop + mark.offsetHeight + 8;
  const fits = below + tip.offsetHeight <= stage.offsetHeight || mark.offsetTop < tip.offsetHeight + 8;
  tip.style.left = `${clamp(middle - tip.offsetWidth / 2, 0, stage.offsetWidth - tip.offsetWidth)}px`;
  tip.style.top = `${fits ? below : mark.offsetTop - tip.offsetHeight - 8}px`;
};
const place = () => {
  put(mark, cursor, cursor);
  put(box, anchor && (keyRange || (start && start.moved)) ? anchor : null, cursor || anchor);
  for (const {a, b, overlay} of waiting) put(overlay, a, b);
  card();
};
const say = cell => {
  const id = cellId(cell);
  live.textContent = nameOf(cell) + (exists(id) ? ': ' + lines(id).map(line => line.join(' ')).join(', ') : '');
};

// ---- picks ---------------------------------------------------------------------------------------------------------

const pick = (action, a, b) => {   // report one cell (a = b) or the range between two
  const [r0, r1] = [Math.min(a[0], b[0]), Math.max(a[0], b[0])], [c0, c1] = [Math.min(a[1], b[1]), Math.max(a[1], b[1])];
  const single = r0 === r1 && c0 === c1;
  if (single && !exists(cellId(a))) return;
  seq = Math.max(seq + 1, Date.now());   // grows across remounts, too
  const cells = single ? {cells: [[r0, real(cellId(a))]]} : {box: [[r0, c0], [r1, c1]]};
  const overlay = Object.assign(document.createElement('div'), {className: 's2e-map-wait'}), mine = seq;
  stage.append(overlay);
  waiting.push({seq, a, b, overlay});
  trigger('pick', {seq, view: v.view, action, ...cells});
  place();
  setTimeout(() => forget(n => n === mine), 8000);   // no answer: stop pretending
};
const forget = answered => {
  for (const {seq: n, overlay} of waiting) if (answered(n)) overlay.remove();
  waiting = waiting.filter(one => !answered(one.seq));
};
const rangeAction = event => event.altKey || tool === 'exclude' ? 'exclude' : 'include';
const clickAction = event => event.altKey ? 'exclude' : tool === 'zoom' ? 'toggle' : tool;

// ---- pointer -------------------------------------------------------------------------------------------------------

const hover = event => {
  const cell = v && view && gd._fullLayout ? cellAt(event) : null;
  if (String(cell) !== String(cursor)) { cursor = cell; place(); }
};
const moved = event => {
  if (start && Math.hypot(event.clientX - start.x, event.clientY - start.y) > 6) start.moved = true;
  if (!start || !start.moved) return;
  if (start.touch || tool === 'zoom') { cursor = null; return; }   // the page scrolls, or plotly zooms
  cursor = cellAt(event) || cursor || start.cell; anchor = start.cell; keyRange = false;
  box.dataset.action = rangeAction(event);
  place();
};
const released = event => {
  removeEventListener('pointermove', moved, true);
  if (!start) return;
  const {cell, moved: far, touch, shift} = start, from = anchor;
  start = null;
  if (event.type === 'pointercancel') { anchor = null; place(); return; }
  if (!far) {
    cursor = cell;
    if (shift && from) pick(rangeAction(event), from, cell); else if (tool !== 'zoom' || touch) pick(clickAction(event), cell, cell);
    anchor = cell;
    say(cell);
  } else if (!touch && tool !== 'zoom') pick(rangeAction(event), cell, cursor || cell);
  place();
};
stage.addEventListener('pointermove', event => { if (event.pointerType !== 'touch' && !start) hover(event); });
stage.addEventListener('pointerleave', () => { if (!start) { cursor = null; place(); } });
stage.addEventListener('pointerdown', event => {
  const cell = event.button === 0 && v && gd._fullLayout ? cellAt(event) : null;
  if (!cell) return;
  keyRange = false;
  delete root.dataset.keys;
  start = {cell, x: event.clientX, y: event.clientY, touch: event.pointerType === 'touch', shift: event.shiftKey, moved: false};
  stage.focus({preventScroll: true});
  addEventListener('pointermove', moved, true);
  addEventListener('pointerup', released, {capture: true, once: true});
  addEventListener('pointercancel', released, {capture: true, once: true});
}, true);

// ---- keys ----------------------------------------------------------------------------------------------------------

const STEPS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-8, 0], PageDown: [8, 0],
  Home: [0, -1e9], End: [0, 1e9]};
const follow = () => {   // keep the cursor inside a zoomed picture
  const shift = (n, low, high) => n < low + 0.5 ? n - low - 0.5 : n > high - 0.5 ? n - high + 0.5 : 0;
  const dx = shift(cursor[1], ...view.x), dy = shift(cursor[0], view.y[1], view.y[0]);
  if (dx || dy) { view = {x: view.x.map(n => n + dx), y: view.y.map(n => n + dy)}; draw(); }
};
stage.addEventListener('keydown', event => {
  if (!v || event.ctrlKey || event.metaKey) return;
  if (event.key !== 'Alt' && event.key !== 'Shift') root.dataset.keys = '';
  const step = STEPS[event.key];
  if (step) {
    const from = cursor || anchor || [0, 0];
    if (event.shiftKey && !keyRange) anchor = from;
    keyRange = event.shiftKey;
    cursor = cursor || anchor ? [clamp(from[0] + step[0], 0, v.layers - 1), clamp(from[1] + step[1], 0, v.shown - 1)] : from;
    if (!keyRange) anchor = cursor;
    box.dataset.action = 'include';
    follow(); place(); say(cursor);
  } else if (event.key === 'Escape') { keyRange = false; cursor = null; place(); }
  else if (cursor && (event.key === 'Enter' || event.key === ' ')) {
    if (keyRange) pick(rangeAction(event), anchor, cursor); else pick(clickAction(event), cursor, cursor);
    keyRange = false; place();
  } else if (cursor && (event.key === 'Delete' || event.key === 'Backspace')) {
    pick('exclude', keyRange ? anchor : cursor, cursor);
    keyRange = false; place();
  } else return;
  event.preventDefault();
});
stage.addEventListener('blur', () => { keyRange = false; if (!start) { cursor = null; if (v && view && gd._fullLayout) place(); } });

// ---- tools, zoom, saving -------------------------------------------------------------------------------------------

const zoom = factor => {
  const scaled = (low, high, min, max) => {
    const half = Math.max(1, (high - low) * factor / 2), mid = (low + high) / 2;
    return [Math.max(min, mid - half), Math.min(max, mid + half)];
  };
  const at = whole(), [top, bottom] = scaled(view.y[1], view.y[0], at.y[1], at.y[0]);
  view = {x: scaled(...view.x, ...at.x), y: [bottom, top]};
  draw();
};
const zoomed = () => {   // plotly has zoomed
  const {xaxis, yaxis} = gd._fullLayout;
  if (String([...xaxis.range, ...yaxis.range]) === String([...view.x, ...view.y])) return;
  view = {x: [...xaxis.range], y: [...yaxis.range]};
  draw();
};
const save = format => {   // always on white, with title and colour bar
  const {data, layout} = figure('light', Math.max(900, gd.clientWidth), plotHeight() + 60), largest = v.scale;
  const bar = {...shape, mode: 'markers', x: [null], y: [null], marker: {color: [0], cmin: -largest, cmax: largest, showscale: true,
    colorscale: stops('light', 0).map((tone, i, all) => [i / (all.length - 1), tone]), colorbar: {thickness: 12, outlinewidth: 0,
      tickvals: [-largest, 0, largest], ticktext: [v.words[0], '0', v.words[2]].map((w, i) => [signed(-largest), '', signed(largest)][i] + ' ' + w)}}};
  const safe = v.title.replace(/[<>&]/g, ' ');
  return P.downloadImage({data: [...data, bar], layout: {...layout, title: {text: safe, font: {size: 15}}, paper_bgcolor: '#ffffff',
    margin: {...margin(), t: 48, r: 150}}}, {format, filename: `steer2edit-${v.kind}`, width: layout.width, height: layout.height,
    scale: format === 'png' ? 2 : 1});
};
const ACTIONS = {in: () => zoom(0.5), out: () => zoom(2), reset: () => { view = whole(); draw(); }, png: () => save('png'), svg: () => save('svg')};
const choose = name => {
  tool = root.dataset.tool = name;
  for (const button of root.querySelectorAll('[data-tool]')) button.setAttribute('aria-pressed', button.dataset.tool === tool);
  draw();
};
root.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button || !v) return;
  if (button.dataset.tool) choose(button.dataset.tool); else ACTIONS[button.dataset.do]();
});

// ---- legend --------------------------------------------------------------------------------------------------------

const key = (name, text) => {
  const item = row('span', text);
  item.prepend(Object.assign(document.createElement('i'), {className: `s2e-map-key s2e-map-${name}`}));
  return item;
};
const legend = () => {
  const bar = document.createElement('span'), ramp = document.createElement('i'), name = theme();
  ramp.className = 's2e-map-ramp';
  ramp.style.background = `linear-gradient(to right, ${stops(name, 0).join(',')})`;
  bar.className = 's2e-map-scale';
  bar.append(row('b', v.words[0]), row('small', signed(-v.scale)), ramp, row('small', signed(v.scale)), row('b', v.words[2]));
  const seen = v.states.reduce((all, s) => all | (s || 16), 0), items = [bar];
  if (v.compared) items.push(key('full', 'edited'), key('pale', 'left as it is'));
  if (seen & INCLUDED) items.push(key('in', 'added by hand'));
  if (seen & EXCLUDED) items.push(key('ex', 'left out by hand'));
  if (seen & 16) items.push(key('none', `no ${what}`));
  find('-legend').replaceChildren(...items);
  find('-legend').style.setProperty('--full', stops(name, 0)[5]);
  find('-legend').style.setProperty('--pale', stops(name, PALE)[v.mode === 'g' ? 5 : 3]);
};

// ---- life ----------------------------------------------------------------------------------------------------------

const load = () => {
  const value = props.value && props.value.view ? props.value : null;
  root.dataset.empty = !value;
  if (!value) { v = null; P.purge(gd); delete gd.dataset.wired; mark.hidden = box.hidden = tip.hidden = true; return; }
  const another = !v || v.view !== value.view;
  v = decode(value);
  seq = Math.max(seq, v.seq);
  if (another) { view = whole(); cursor = anchor = null; keyRange = false; forget(() => true); }
  forget(n => !v.seq || n <= v.seq);
  find('-title').textContent = v.title;
  draw();
  if (cursor && document.activeElement === stage) say(cursor);
};
watch('value', load);
choose(tool);
load();
const onWidth = new ResizeObserver(() => {
  if (!element.isConnected) return onWidth.disconnect();
  if (v && gd.clientWidth && (stale || gd.clientWidth !== (gd._fullLayout || {}).width)) draw();
});
onWidth.observe(stage);
const onTheme = new MutationObserver(() => element.isConnected ? draw() : onTheme.disconnect());
onTheme.observe(document.body, {attributeFilter: ['class']});

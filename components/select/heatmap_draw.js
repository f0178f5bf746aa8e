// Decodes the packed value (components/shared/grid_packing.py) and draws it with plotly.js. Runs as the first half of a
// function that receives `element` each time the widget is mounted; heatmap.js, the second half, knows the person.

const P = window.Plotly;
const find = name => element.querySelector('.s2e-map' + name);
const root = find(''), gd = find('-plot');
const EXISTS = 1, EDITED = 2, INCLUDED = 4, EXCLUDED = 8;
const what = root.dataset.what;
const PALETTES = {  // from "works against" over 0 to "writes along"; neither end looks like praise, and everybody tells them apart
  light: ['#6b3f00', '#b8761a', '#e8c88f', '#efeeec', '#c4b5e6', '#8257c9', '#44148c'],
  dark: ['#ffcf8a', '#d3923a', '#7a5420', '#2b2e35', '#5b4391', '#9a78e0', '#cdb9ff'],
};
let v = null;              // the value on show, decoded
let view = null;           // axis ranges on show: {x: [left, right], y: [bottom, top]}
let stale = false;         // a draw was left out because the widget is hidden
let tool = 'toggle';       // what a click or a drag does

// ---- decoding ------------------------------------------------------------------------------------------------------

const bytes = text => {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out.buffer;
};
const figures = packed => packed.type === 'f4' ? new Float32Array(bytes(packed.data))
  : Float32Array.from(new Int16Array(bytes(packed.data)), n => n === -32768 ? NaN : n * packed.unit);
const decode = value => {
  const states = new Uint8Array(bytes(value.states)), place = new Int32Array(states.length);
  for (let id = 0, n = 0; id < states.length; id++) place[id] = states[id] & EDITED ? n++ : -1;
  return {...value, states, place, g: figures(value.g), strength: figures(value.strength),
    change: figures(value.change), on: figures(value.on), off: figures(value.off), columns: value.columns && new Int32Array(bytes(value.columns))};
};

// ---- cells ---------------------------------------------------------------------------------------------------------

const clamp = (n, low, high) => Math.min(high, Math.max(low, n));
const cellId = cell => cell[0] * v.shown + cell[1];
const real = id => v.columns ? v.columns[id] : id % v.shown;
const exists = id => v.states[id] & EXISTS;
const added = n => v.mode === 'when' ? v.on[n] - v.off[n] : v.strength[n];
const shade = id => v.mode === 'g' ? v.g[id] : v.place[id] < 0 ? 0 : added(v.place[id]);
const signed = x => (x < 0 ? '\u2212' : '+') + Math.abs(x).toPrecision(3);
const short = x => {   // in a cell: two decimals, rounded, and no sign before a zero
  const size = Math.abs(x) < 9.995 ? Math.abs(x).toFixed(2) : Math.abs(x).toPrecision(3);
  return size === '0.00' ? size : (x < 0 ? '\u2212' : '+') + size;
};
const stateWord = id => {
  const s = v.states[id];
  if (!v.compared) return '';
  const byHand = s & INCLUDED ? ', added by hand' : s & EXCLUDED ? ', left out by hand' : '';
  return (s & EDITED ? 'edited' : 'left as it is') + byHand;
};
const lines = id => {
  const rows = [['alignment g', (v.g.length && v.g[id] !== undefined ? signed(v.g[id]) : '')]];
  if (v.place[id] >= 0) {
    rows.push(['strength \u03bb', signed(v.strength[v.place[id]])]);
    rows.push(['change of its weight', (100 * v.change[v.place[id]]).toPrecision(3) + ' %']);
    if (v.on.length) {
      rows.push(['adds on the behaviour\u2019s texts', signed(v.on[v.place[id]])]);
      rows.push(['adds on harmless texts', signed(v.off[v.place[id]])]);
    }
  }
  return stateWord(id) ? [...rows, ['state', stateWord(id)]] : rows;
};
const component = (layer, column) => {   // as naming.py: 'expert 5 neuron 7', 'neuron 7 (mlp.shared_experts)'
  const row = v.parts ? v.parts[layer] : [[0, v.widest, 0, '']];
  const [first, size, experts, where] = row.find(([first, size]) => column < first + size);
  const each = size / (experts || 1), at = column - first, index = at % each;
  return `${experts ? `expert ${Math.floor(at / each)} ` : ''}${what} ${index}${where && ` (${where})`}`;
};
const nameOf = cell => exists(cellId(cell)) ? `layer ${cell[0]}, ${component(cell[0], real(cellId(cell)))}`
  : `layer ${cell[0]} has no ${what} here`;

// ---- colours -------------------------------------------------------------------------------------------------------

const theme = () => document.body.classList.contains('dark') ? 'dark' : 'light';
const ink = name => {
  const style = getComputedStyle(element), get = key => style.getPropertyValue(key).trim();
  return name === 'dark' ? {fg: '#e8e8ea', soft: '#b4b4bb', back: get('--background-fill-primary') || '#0b0f19',
    line: '#ffffff', hatch: '#52525b'}
    : {fg: '#27272a', soft: '#52525b', back: '#ffffff', line: '#18181b', hatch: '#c4c4cc'};
};
const channels = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
const between = (a, b, t) => a.map((x, i) => x + (b[i] - x) * t);
const rgb = c => `rgb(${c.map(Math.round).join(',')})`;
const PALE = 0.5, PAPER = {light: '#ffffff', dark: '#101116'};   // what is not edited is mixed with the paper
const tones = (name, pale) => PALETTES[name].map(hex => between(channels(hex), channels(PAPER[name]), pale));
const stops = (name, pale) => tones(name, pale).map(rgb);
// One colour scale holds both tones: pale cells lie in [-1, 1], full ones in [2, 4]; see `codes`.
const scale = name => {
  const spread = (tones, from) => tones.map((tone, i) => [(from + 2 * i / (tones.length - 1)) / 5, tone]);
  return [...spread(stops(name, PALE), 0), ...spread(stops(name, 0), 3)];
};
const full = id => !v.compared || v.states[id] & EDITED;
const codes = () => Array.from({length: v.layers}, (_, r) => {
  const row = new Float32Array(v.shown);
  for (let c = 0, id = r * v.shown; c < v.shown; c++, id++) {
    row[c] = exists(id) ? clamp(shade(id) / v.scale, -1, 1) + (full(id) ? 3 : 0) : NaN;
  }
  return row;
});
const luminance = c => c.map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
  .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const drawn = (id, name) => {   // the colour of a cell
  const list = tones(name, full(id) ? 0 : PALE), at = (clamp(shade(id) / v.scale, -1, 1) + 1) / 2 * (list.length - 1);
  const below = Math.min(Math.floor(at), list.length - 2);
  return between(list[below], list[below + 1], at - below);
};
const textColor = (id, name) => {   // the first of these that can be read there: black or white always can
  const back = luminance(drawn(id, name)), {fg, soft} = ink(name);
  const inks = [...(full(id) ? [] : [soft]), fg, name === 'dark' ? '#111113' : '#ffffff', '#ffffff', '#000000'];
  return inks.find(hex => contrast(luminance(channels(hex)), back) >= 4.5);
};

// ---- drawing -------------------------------------------------------------------------------------------------------

const whole = () => ({x: [-0.5, v.shown - 0.5], y: [v.layers - 0.5, -0.5]});
const margin = () => ({l: 42, r: 8, t: 6, b: v.columns ? 28 : 42});   // no numbers where columns differ by row
const plotHeight = () => +root.dataset.height || clamp(v.layers * 34, 200, 460) + margin().t + margin().b;
const cellSize = (width, height) => ({
  w: (width - margin().l - margin().r) / (view.x[1] - view.x[0]), h: (height - margin().t - margin().b) / (view.y[0] - view.y[1]),
});
const visible = visit => {   // every cell in the zoomed window, row by row
  const [x0, x1] = [Math.max(0, Math.ceil(view.x[0] - 0.5)), Math.min(v.shown - 1, Math.floor(view.x[1] + 0.5))];
  const [y0, y1] = [Math.max(0, Math.ceil(view.y[1] - 0.5)), Math.min(v.layers - 1, Math.floor(view.y[0] + 0.5))];
  for (let r = y0; r <= y1; r++) for (let c = x0; c <= x1; c++) visit(r, c, r * v.shown + c);
};
const runs = kindOf => {   // neighbours of one kind in a row, as {row, from, to, kind}
  const found = [];
  let run = null;
  visible((row, c, id) => {
    const kind = kindOf(id);
    if (run && run.row === row && run.kind === kind && run.to === c - 1) run.to = c;
    else { if (run && run.kind) found.push(run); run = {row, from: c, to: c, kind}; }
  });
  return run && run.kind ? [...found, run] : found;
};
const rectangles = (list, inset) => {   // closed paths with gaps between them
  const x = [], y = [];
  for (const {row, from, to} of list) {
    const [l, r, t, b] = [from - 0.5 + inset.x, to + 0.5 - inset.x, row - 0.5 + inset.y, row + 0.5 - inset.y];
    x.push(l, r, r, l, l, null); y.push(t, t, b, b, t, null);
  }
  return {x, y};
};
const shape = {type: 'scatter', mode: 'lines', hoverinfo: 'skip', showlegend: false};
const absent = colors => ({...shape, ...rectangles(runs(id => exists(id) ? '' : 'absent'), {x: 0.02, y: 0.04}), fill: 'toself',
  line: {width: 0}, fillcolor: 'rgba(0,0,0,0)', fillpattern: {shape: '/', size: 7, fgcolor: colors.hatch, solidity: 0.16}});
const outlines = (size, colors) => {
  const list = [];
  if (v.compared && size.w >= 14 && size.h >= 10) {
    visible((row, c, id) => { if (v.states[id] & EDITED) list.push({row, from: c, to: c}); });
  }
  return {...shape, ...rectangles(list, {x: 2 / size.w, y: 2 / size.h}), line: {width: 2, color: colors.line}};
};
const numbers = (size, name) => {
  const out = {...shape, mode: 'text', x: [], y: [], text: [], textfont: {size: 11, color: []}};
  if (size.w >= 44 && size.h >= 20) visible((r, c, id) => {
    if (!exists(id)) return;
    out.x.push(c); out.y.push(r); out.textfont.color.push(textColor(id, name));
    out.text.push(v.mode !== 'g' && !(v.states[id] & EDITED) ? '' : short(shade(id)));
  });
  return out;
};
const SYMBOLS = {included: 'circle', excluded: 'x-thin'};
const byHand = id => v.states[id] & INCLUDED ? 'included' : v.states[id] & EXCLUDED ? 'excluded' : '';
const handMarks = (size, colors) => {   // a sign in every cell, or one for a run of cells too narrow for it
  const dot = clamp(Math.min(size.w, size.h) * 0.3, 5, 9), corner = size.w >= 44 && size.h >= 20;
  const each = size.w >= dot + 1;
  const list = runs(byHand).flatMap(run => each
    ? Array.from({length: run.to - run.from + 1}, (_, i) => ({...run, from: run.from + i, to: run.from + i})) : [run]);
  const bars = {...shape, x: [], y: [], line: {width: 2, color: colors.line}};
  for (const run of list) if (run.to > run.from) { bars.x.push(run.from - 0.5, run.to + 0.5, null); bars.y.push(run.row, run.row, null); }
  return [bars, {...shape, mode: 'markers', cliponaxis: true,
    x: list.map(run => (run.from + run.to) / 2 + (corner ? 0.5 - (dot / 2 + 6) / size.w : 0)),
    y: list.map(run => run.row - (corner ? 0.5 - (dot / 2 + 6) / size.h : 0)),
    marker: {size: dot, symbol: list.map(run => SYMBOLS[run.kind]), color: colors.line, opacity: 1,
      line: {width: list.map(run => run.kind === 'included' ? 1 : 2), color: list.map(run => run.kind === 'included' ? colors.back : colors.line)}}}];
};
const axisTitle = () => {
  if (!v.columns) return what;
  const some = v.shown < v.widest ? `the ${v.shown} strongest of each layer's ${v.widest} ${what}s, ` : `${what}s, `;
  return some + (v.order === 'strength' ? 'strongest first' : 'in index order');
};
const figure = (name, width, height) => {
  const size = cellSize(width, height), colors = ink(name), gap = size.w >= 14 && size.h >= 10 ? 2 : size.h >= 8 ? 1 : 0;
  const axis = {showgrid: false, zeroline: false, showline: false, ticks: '', automargin: false, tickformat: 'd', tickangle: 0,
    ticklabeloverflow: 'allow',   // measuring every label for overflow would take most of the time of an update
    tickfont: {color: colors.soft, size: 11}, fixedrange: false};
  const step = (pixels, room) => Math.max(1, Math.ceil(room / pixels));
  const title = (text, standoff) => ({text, standoff, font: {size: 12, color: colors.soft}});
  return {
    data: [
      {type: 'heatmap', z: codes(), zmin: -1, zmax: 4, colorscale: scale(name), showscale: false, hoverinfo: 'skip',
        xgap: size.w >= 14 ? gap : 0, ygap: gap},
      ...[absent(colors), outlines(size, colors), numbers(size, name), ...handMarks(size, colors)]
        .map(trace => ({...trace, visible: trace.x.length > 0})),
    ],
    layout: {
      width, height, margin: margin(), showlegend: false, hovermode: false, dragmode: tool === 'zoom' ? 'zoom' : false,
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      font: {family: getComputedStyle(element).fontFamily, color: colors.fg},
      xaxis: {...axis, range: [...view.x], title: title(axisTitle(), 8), showticklabels: !v.columns,
        minallowed: -0.5, maxallowed: v.shown - 0.5, ...(size.w >= 8 ? {dtick: step(size.w, 26)} : {nticks: 12})},
      yaxis: {...axis, range: [...view.y], title: title('layer', 4), minallowed: -0.5, maxallowed: v.layers - 0.5,
        dtick: step(size.h, 14)},
    },
  };
};
const CONFIG = {displayModeBar: false, displaylogo: false, showSendToCloud: false, plotlyServerURL: '', doubleClick: false,
  showTips: false, responsive: false};
const draw = async () => {
  stale = !!v && !gd.clientWidth;
  if (!v || stale) return;
  const began = performance.now(), {data, layout} = figure(theme(), gd.clientWidth, plotHeight());
  await P.react(gd, data, layout, CONFIG);
  if (!gd.dataset.wired) { gd.dataset.wired = 1; gd.on('plotly_relayout', zoomed); }
  place(); legend();
  root.dataset.draws = +(root.dataset.draws || 0) + 1;
  root.dataset.milliseconds = Math.round(performance.now() - began);
};

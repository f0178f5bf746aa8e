// Draws {figure, table, title, file, view, dark} (components/trade_off/figure_widget.py) and reports which point a person picks.
// Figure and table are JSON; all words of the table enter the page through textContent. Receives `element`, `props`,
// `trigger` and `watch`.

const P = window.Plotly;
const root = element.querySelector('.s2e-figure'), gd = root.querySelector('.s2e-figure-plot');
const frame = root.querySelector('.s2e-figure-table');
const CONFIG = {displayModeBar: false, displaylogo: false, showSendToCloud: false, plotlyServerURL: '', responsive: false,
  doubleClick: 'reset', showTips: false};
let v = null;
let sorting = {column: 0, up: true};

// ---- the figure ----------------------------------------------------------------------------------------------------

const themed = dark => {
  let text = v.figure;
  if (dark) for (const [light, tone] of Object.entries(v.dark)) text = text.replaceAll(light, tone);
  return JSON.parse(text);
};
const isDark = () => document.body.classList.contains('dark');
const coarse = () => matchMedia('(pointer: coarse)').matches;
const draw = async () => {
  if (!v || !gd.clientWidth) return;
  const {data, layout} = themed(isDark());
  Object.assign(layout, {width: gd.clientWidth, uirevision: v.view, paper_bgcolor: 'rgba(0,0,0,0)', dragmode: coarse() ? false : 'zoom',
    plot_bgcolor: 'rgba(0,0,0,0)', font: {...layout.font, family: getComputedStyle(element).fontFamily}});
  layout.hoverlabel.font.family = layout.font.family;
  await P.react(gd, [...data, bars(null, layout.font.color)], layout, CONFIG);
  if (!gd.dataset.wired) {
    gd.dataset.wired = 1;
    gd.on('plotly_click', clicked);
    gd.on('plotly_hover', hovered);
    gd.on('plotly_unhover', () => pointed(null));
  }
  root.dataset.points = gd.data.reduce((sum, trace) => sum + (trace.customdata ? trace.customdata.length : 0), 0);
  root.dataset.draws = +(root.dataset.draws || 0) + 1;
};
// The point under the pointer shows its intervals; where there are many, the figure itself leaves them out.
const bars = (point, color) => {
  const [, left, right, low, high] = point ? point.customdata : [];
  const error = (minus, plus) => ({type: 'data', symmetric: false, array: [plus], arrayminus: [minus], color, thickness: 2, width: 4});
  return {type: 'scatter', mode: 'markers', hoverinfo: 'skip', showlegend: false, marker: {size: 1, color}, visible: Boolean(point),
    x: point ? [point.x] : [0], y: point ? [point.y] : [0], error_x: error(left, right), error_y: error(low, high)};
};
const pointed = point => {
  const own = gd.data.length - 1, flat = bars(point, getComputedStyle(element).color);
  const update = {visible: flat.visible, x: [flat.x], y: [flat.y]};
  for (const axis of ['error_x', 'error_y']) {
    for (const [key, value] of Object.entries(flat[axis])) update[`${axis}.${key}`] = Array.isArray(value) ? [value] : value;
  }
  P.restyle(gd, update, [own]);
};
const hovered = event => {
  const point = event.points.find(one => one.customdata && one.customdata.length === 5);
  if (point) pointed(point);
};
const pick = n => { if (Number.isInteger(n)) trigger('pick', {view: v.view, n}); };
const clicked = event => {
  const point = event.points.find(one => one.customdata);
  if (point) pick(point.customdata[0]);
};
const save = format => {   // always on white, as for paper
  const {data, layout} = themed(false);
  const [width, height] = [Math.max(760, gd.clientWidth), layout.height];
  const title = {text: v.title.replace(/[<>&]/g, ' '), font: {size: 15}, x: 0.02, xanchor: 'left'};
  return P.downloadImage({data, layout: {...layout, width, height: height + 30, title, margin: {...layout.margin, t: 64}}},
    {format, filename: v.file, width, height: height + 30, scale: format === 'png' ? 2 : 1});
};

// ---- the table -----------------------------------------------------------------------------------------------------

const make = (tag, text, parent) => {
  const node = document.createElement(tag);
  node.textContent = text;
  parent.append(node);
  return node;
};
const listed = () => {
  const value = v && JSON.parse(v.table);
  const at = frame.scrollTop, focused = document.activeElement?.closest?.('tr')?.dataset.n;
  frame.hidden = !value;
  frame.replaceChildren();
  if (!value) return;
  const node = make('table', '', frame), head = make('tr', '', make('thead', '', node)), body = make('tbody', '', node);
  value.columns.forEach((name, column) => {
    const cell = make('th', '', head), button = make('button', name, cell);
    button.type = 'button';
    cell.scope = 'col';
    if (sorting.column === column) cell.setAttribute('aria-sort', sorting.up ? 'ascending' : 'descending');
    button.addEventListener('click', () => {
      sorting = {column, up: sorting.column === column ? !sorting.up : column === 0};
      listed();
      frame.querySelectorAll('th button')[column].focus();
    });
  });
  const order = [...value.rows].sort((a, b) => (a.cells[sorting.column][1] - b.cells[sorting.column][1]) * (sorting.up ? 1 : -1));
  order.forEach((row, place) => {
    const line = make('tr', '', body);
    line.dataset.n = row.n;
    line.classList.toggle('best', row.best);
    line.classList.toggle('current', row.current);
    row.cells.forEach(([text], column) => {
      const cell = make('td', column ? text : '', line);
      if (column) return;
      const button = make('button', text, cell);
      button.type = 'button';
      button.tabIndex = place ? -1 : 0;
      if (row.note) make('small', row.note, cell);
    });
  });
  frame.scrollTop = at;
  if (focused !== undefined) frame.querySelector(`tr[data-n="${Number(focused)}"] td button`)?.focus();
};
frame.addEventListener('click', event => {
  const line = event.target.closest('tbody tr');
  if (line) pick(Number(line.dataset.n));
});
frame.addEventListener('keydown', event => {   // arrows move from row to row; Enter presses the row's button
  const buttons = [...frame.querySelectorAll('tbody button')], at = buttons.indexOf(document.activeElement);
  const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1}[event.key];
  if (at < 0 || to === undefined || !buttons[to]) return;
  event.preventDefault();
  buttons[at].tabIndex = -1;
  buttons[to].tabIndex = 0;
  buttons[to].focus();
});

// ---- life ----------------------------------------------------------------------------------------------------------

const load = () => {
  v = props.value && props.value.figure ? props.value : null;
  root.hidden = !v;
  root.dataset.view = v ? v.view : '';
  if (!v) { P.purge(gd); delete gd.dataset.wired; delete root.dataset.points; listed(); return; }
  root.querySelector('strong').textContent = v.title;
  listed();
  draw();
};
root.addEventListener('click', event => {
  const button = event.target.closest('[data-save]');
  if (button && v) save(button.dataset.save);
});
watch('value', load);
load();
const onWidth = new ResizeObserver(() => {
  if (!element.isConnected) return onWidth.disconnect();
  if (v && gd.clientWidth && gd.clientWidth !== (gd._fullLayout || {}).width) draw();
});
onWidth.observe(gd);
const onTheme = new MutationObserver(() => element.isConnected ? draw() : onTheme.disconnect());
onTheme.observe(document.body, {attributeFilter: ['class']});

// The elements around a picture: title, tools, buttons, the stage with its canvas, legend and spoken line. Also tells
// when to draw again: after a change of width or theme, until the element leaves the page. Knows no figure.

import {make} from './dom.js';
import {keysText, one} from './map_words.js';

const toolsFor = what => [
  ['toggle', 'Toggle', `Click flips one ${what}; drag adds a range; with Alt it leaves the range out`],
  ['include', 'Add', `Click or drag adds ${what}s to the edit`],
  ['exclude', 'Leave out', `Click or drag leaves ${what}s as they are`],
  ['zoom', 'Zoom', 'Click or drag zooms in'],
];
const BUTTONS = [['out', '−', 'Zoom out'], ['in', '+', 'Zoom in'], ['reset', 'Reset', 'Reset: show everything'],
  ['png', 'PNG', 'Save as PNG image']];

let count = 0;   // the description of the keys needs an id of its own

/** Builds the skeleton inside `root`; `more` are further buttons as [name, word, title]. */
export const shell = (root, {kind, label, more = []}) => {
  const what = one(kind), keysId = `s2e-map-keys-${count++}`;
  const part = (name, attributes = {}) => make('div', {className: `s2e-map-${name}`, ...attributes});
  const tools = toolsFor(what).map(([tool, word, title]) =>
    make('button', {type: 'button', title, 'data-tool': tool, 'aria-pressed': String(tool === 'toggle')}, word));
  const buttons = [...more, ...BUTTONS].map(([name, word, title]) =>
    make('button', {type: 'button', title, 'data-do': name, 'aria-label': title}, word));
  const nodes = {
    title: make('strong', {className: 's2e-map-title'}),
    stage: part('stage', {tabIndex: 0, role: 'application', 'aria-label': label, 'aria-describedby': keysId}),
    canvas: make('canvas', {className: 's2e-map-canvas', 'aria-hidden': 'true'}),
    area: part('area'), box: part('box', {hidden: true}), focus: part('focus', {hidden: true}),
    mark: part('cursor', {hidden: true}), tip: part('tip', {hidden: true}),
    legend: part('legend'), live: make('p', {className: 's2e-map-live', role: 'status'}),
  };
  nodes.stage.append(nodes.canvas, nodes.area, nodes.box, nodes.focus, nodes.mark, nodes.tip);
  nodes.section = make('section', {className: 's2e-map', 'aria-label': label, 'data-tool': 'toggle'},
    make('div', {className: 's2e-map-bar'}, nodes.title,
      make('div', {className: 's2e-map-tools', role: 'group', 'aria-label': 'What a click does'}, ...tools),
      make('div', {className: 's2e-map-buttons'}, ...buttons)),
    nodes.stage, nodes.legend, nodes.live, make('p', {className: 's2e-map-keys', id: keysId}, keysText(kind)));
  root.replaceChildren(nodes.section);
  return nodes;
};

/** Gives the canvas its size in pixels of the device, and returns its context. */
export const sized = (canvas, frame) => {
  if (canvas.width !== frame.width) canvas.width = frame.width;
  if (canvas.height !== frame.height) canvas.height = frame.height;
  canvas.style.width = `${frame.width / frame.ratio}px`;
  canvas.style.height = `${frame.height / frame.ratio}px`;
  return canvas.getContext('2d');
};
/** Lays an element over the plot. */
export const over = (node, frame) => Object.assign(node.style, {
  left: `${frame.x / frame.ratio}px`, top: `${frame.y / frame.ratio}px`,
  width: `${frame.w / frame.ratio}px`, height: `${frame.h / frame.ratio}px`,
});

/** Calls `draw` when the width or the theme has changed. Begins anew with `watch()`, and ends when the node is gone. */
export const watcher = (node, draw) => {
  let watching = false, width = -1;
  const check = act => { if (node.isConnected) act(); else stop(); };
  const onWidth = new ResizeObserver(() => check(() => {
    if (node.clientWidth !== width) { width = node.clientWidth; draw(); }
  }));
  const onTheme = new MutationObserver(() => check(draw));
  const stop = () => { onWidth.disconnect(); onTheme.disconnect(); watching = false; };
  return () => {
    width = node.clientWidth;
    if (watching || !node.isConnected) return;
    watching = true;
    onWidth.observe(node);
    onTheme.observe(document.body, {attributeFilter: ['class']});
  };
};

const filled = new WeakMap();   // what each legend shows, so that a dial that moves builds no elements
const entry = ([name, text, shown]) => make('span', {style: shown ? '' : 'visibility: hidden'},
  make('i', {className: `s2e-map-key s2e-map-${name}`}), text);
/** Fills the legend. Entries that do not apply now keep their place, so that nothing moves when they appear. */
export const fillLegend = (node, {low, high, ends, items, note, table, full, pale}) => {
  const signature = JSON.stringify([low, high, ends, items, note, table.theme, full, pale]);
  if (filled.get(node) === signature) return;
  filled.set(node, signature);
  const ramp = make('i', {className: 's2e-map-ramp'});
  ramp.style.background = table.ramp;
  node.style.setProperty('--full', full);
  node.style.setProperty('--pale', pale);
  node.replaceChildren(
    make('span', {className: 's2e-map-scale'}, make('b', {}, ends[0]), make('small', {}, low), ramp,
      make('small', {}, high), make('b', {}, ends[1])),
    ...items.map(entry), ...(note ? [make('p', {className: 's2e-map-crowd'}, note)] : []));
};

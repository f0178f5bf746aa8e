// Two checkpoints: which heads and neurons differ, the spectrum of every projection, along which behaviour, and the nearest
// recipe. Draws {first, second, relative_size, sites: [{kind, layer, change, rank_one, spectrum}], maps, along, nearest, ...}.

import {make, counted, percent, plural} from '../studio/dom.js';
import {picture, svg} from './draw.js';

const WIDTH = 560, LEFT = 30, ROW = 14;
const share = value => value > 0.9995 ? '100%' : percent(value, value < 0.1 ? 2 : 1);
const say = text => make('p', {className: 'status', textContent: text});
const focus = number => window.steer2edit.focus?.(number);

const STEPS = {ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1]};

/** The cell that is nearest in the direction of an arrow key, and of equally near ones the straightest. */
const neighbour = (cells, from, [dx, dy]) => {
  const far = cell => {
    const along = dx * (cell.x - from.x) + dy * (cell.y - from.y), aside = Math.abs(dy * (cell.x - from.x)) + Math.abs(dx * (cell.y - from.y));
    return along > 0 ? along * 1e4 + aside + (dx && aside ? 1e8 : 0) : Infinity;
  };
  return cells.reduce((best, cell) => far(cell) < far(best) ? cell : best, from);
};

/** Cells as one stop of the Tab key: arrows move among them, Enter and the space bar do what a click does. */
const reachable = cells => cells.forEach((cell, n) => {
  cell.node.setAttribute('tabindex', n ? -1 : 0);
  cell.node.addEventListener('keydown', event => {
    const step = STEPS[event.key];
    if (!step && event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    if (!step) return void cell.open();
    const next = neighbour(cells, cell, step);
    cell.node.setAttribute('tabindex', -1);
    next.node.setAttribute('tabindex', 0);
    next.node.focus();
  });
});

/** Relative changes as rows of layers; a click opens the component, of several in one cell the one that changed most. */
const map = ({rows, numbers, per_bin: many}, kind, most) => {
  const cells = rows[0].length, cell = Math.min(kind === 'heads' ? 26 : 10, (WIDTH - LEFT - 6) / cells), width = LEFT + cells * cell + 4, height = rows.length * ROW + 4;
  const one = kind === 'heads' ? 'head' : 'neuron';
  const drawn = rows.flatMap((row, y) => row.map((value, x) => {
    if (value / most < 0.004) return null;
    const label = `layer ${y}, ${many > 1 ? `strongest of ${plural(many, one)}` : `${one} ${x}`}: |ΔW|/|W| ${value.toFixed(4)}`, open = () => focus(numbers[y][x]);
    const node = svg('rect', {
      x: LEFT + x * cell, y: 2 + y * ROW, width: Math.max(1, cell - (cell > 4 ? 1 : 0)), height: ROW - 1, class: 'why-change', style: `fill-opacity:${Math.min(1, 0.2 + 0.8 * value / most).toFixed(3)}`,
      'data-number': numbers[y][x], role: 'button', 'aria-label': label, onclick: open}, svg('title', {text: label}));
    return {x, y, node, open};
  })).filter(Boolean);
  reachable(drawn);
  const drawing = picture(width, height, `${kind} by layer: where the weights differ, ${drawn.length} cells with a visible change; arrow keys move among them, Enter opens one`,
    svg('rect', {x: LEFT, y: 2, width: cells * cell, height: rows.length * ROW - 1, class: 'why-frame'}),
    ...rows.map((_, y) => rows.length > 12 && y % 5 ? null : svg('text', {x: LEFT - 5, y: y * ROW + 12, 'text-anchor': 'end', text: y})), ...drawn.map(({node}) => node));
  drawing.setAttribute('role', 'group');
  return drawing;
};

const changes = (drawn, kind, count, most) => count ? map(drawn, kind, most) : say(`No ${kind} differ.`);

/** Singular values of one projection as bars beside its rank-1 share. */
const spectrum = ({spectrum: values, rank_one: first}, label) => {
  const width = 112, height = 20, step = width / values.length, top = values[0] || 1;
  return picture(width, height, `${label}: ${values.map(value => value.toPrecision(3)).join(', ')}`,
    ...values.map((value, n) => svg('rect', {x: n * step, width: step - 2, y: height - 1 - (height - 2) * value / top, height: Math.max(1, (height - 2) * value / top), class: `why-bar ${n || first < 0.9 ? 'chance' : 'for'}`},
      svg('title', {text: `${n + 1}. singular value ${value.toPrecision(3)}`}))));
};

const spectra = sites => {
  const layers = [...new Set(sites.map(site => site.layer))].sort((a, b) => a - b);
  const cells = (layer, kind) => {
    const found = sites.filter(site => site.layer === layer && site.kind === kind);
    return found.length ? found.map(site => make('div', {className: 'why-spectrum'}, spectrum(site, `layer ${layer}, ${kind}`), make('span', {textContent: share(site.rank_one)}))) : ['unchanged'];
  };
  return make('div', {className: 'why-spectra'}, make('table', {},
    make('thead', {}, make('tr', {}, ...['Layer', 'Heads', 'Neurons'].map(text => make('th', {scope: 'col', textContent: text})))),
    make('tbody', {}, ...layers.map(layer => make('tr', {}, make('th', {scope: 'row', textContent: layer}), make('td', {}, ...cells(layer, 'heads')), make('td', {}, ...cells(layer, 'neurons')))))));
};

const bar = (title, value, chance) => make('tr', {}, make('th', {scope: 'row', textContent: title}), make('td', {}, picture(160, 12, `${share(value)} of the difference`,
  svg('rect', {x: 0, y: 2, width: 160, height: 8, class: 'why-band'}), svg('rect', {x: 0, y: 2, width: Math.max(1, 160 * value), height: 8, class: 'why-bar for'}),
  svg('line', {x1: 160 * chance, x2: 160 * chance, y1: 0, y2: 12, class: 'why-axis'}))), make('td', {textContent: share(value)}));

const verdict = ({each_rank_one: each, shared}) =>
  shared > 0.9 ? `One output direction, the same in every layer, explains ${share(shared)} of it.`
    : each > 0.9 ? `One matrix of rank 1 for each projection explains ${share(each)} of it, as an edit of this page does; a single direction for all of them explains ${share(shared)}.`
      : `It is no edit of rank 1: one matrix of rank 1 for each projection explains ${share(each)} of it, a single direction for all of them ${share(shared)}.`;

const recipe = ({nearest, reversed, behavior, second, first}) => {
  const lines = [];
  if (nearest) lines.push(say(`The nearest edit for “${behavior}” explains ${share(nearest.explained)} of the difference: ${nearest.words}.`));
  else lines.push(say(`No edit for “${behavior}” is nearer to the difference than no edit at all.`));
  if (reversed) lines.push(say(`The other way round it fits better: ${first} differs from ${second} as by an edit for “${behavior}” that explains ${share(reversed.explained)} (${reversed.words}).`));
  return lines;
};

export const start = ({element, props, watch}) => {
  const root = element.querySelector('.why-two');
  const draw = () => {
    const value = props.value;
    root.hidden = !value || !value.sites;
    if (root.hidden) return;
    root.classList.remove('outdated');
    const {first, second, maps, sites, along, nearest, behavior} = value;
    const most = Math.max(1e-9, ...Object.values(maps).flatMap(({rows}) => rows.flat()));
    const load = (text, id, primary) => make('button', {type: 'button', textContent: text, className: primary ? 'first' : '', onclick: () => document.querySelector(id)?.click()});
    root.replaceChildren(
      make('p', {className: 'asked', textContent: `${second} beside ${first}: ${counted(value.heads)} of ${plural(value.of_heads, 'head')} and ${counted(value.neurons)} of ${plural(value.of_neurons, 'neuron')} differ, in ${value.changed} of ${plural(value.of_changed, 'projection')}, the matrices with which layers write. The whole change is ${percent(value.relative_size, 2)} of the size of the weights, |ΔW|/|W|. ${verdict(value)}`}),
      make('div', {className: 'why-sections'},
        make('section', {}, make('h3', {textContent: 'Which recipe is nearest?'}), ...recipe(value),
          make('table', {className: 'why-along'}, make('tbody', {}, ...(nearest ? [bar(`along “${behavior}”`, nearest.possible, value.by_chance)] : []), ...along.map(({title, share}) => bar(`along “${title}”`, share, value.by_chance)))),
          say(`How much of the squared difference lies along the directions of a behaviour, which no edit for it can exceed. A random direction gets ${share(value.by_chance)}. Other behaviours are listed once somebody has opened them here.`),
          make('p', {className: 'why-form'}, ...(nearest ? [load('Load it into the dials', '#two-load', true)] : []), load('Load the nearest rank-1 edit', '#two-load-own', !nearest)),
          say(`The rank-1 edit has directions of its own and explains ${share(value.each_rank_one)}; no dial can tune it.`)),
        make('section', {}, make('h3', {textContent: 'Where do they differ most?'}),
          make('ol', {}, ...value.largest.map(({name, number, relative}) => make('li', {}, make('button', {type: 'button', className: 'quiet', textContent: name, onclick: () => focus(number)}), ` |ΔW|/|W| ${relative.toFixed(4)}`)))),
        make('section', {}, make('h3', {textContent: 'Heads'}), changes(maps.heads, 'heads', value.heads, most),
          make('h3', {textContent: 'Neurons'}), changes(maps.neurons, 'neurons', value.neurons, most),
          say(`A row for each layer; full colour is |ΔW|/|W| = ${most.toFixed(3)}.${maps.neurons.per_bin > 1 ? ` A cell of neurons shows the strongest of ${maps.neurons.per_bin}.` : ''} Click one for its card, or reach it with Tab and the arrow keys.`)),
        make('section', {}, make('h3', {textContent: 'How many directions does it take?'}),
          say('The largest singular values of the difference of every projection, and the share that the first of them explains.'), spectra(sites))));
  };
  document.addEventListener('studio:rested', () => root.classList.toggle('outdated', !root.hidden && props.value.key !== window.steer2edit.place().key));
  watch('value', draw);
  draw();
};

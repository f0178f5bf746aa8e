// Small pictures in SVG: an interval on a line, a curve, bars, dots, tinted tokens, a matrix. Text enters through textContent.
// Each has its figures as words too, for those who do not see it.

import {make, signed} from '../studio/dom.js';

export const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') node.textContent = value;
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter(Boolean));
  return node;
};
export const picture = (width, height, label, ...children) =>
  svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label, class: 'why-picture', style: `max-width:${width}px`}, ...children);
const side = value => value < 0 ? 'against' : 'for';

/** "+0.12 [+0.05, +0.20]". */
export const figure = ({value, low, high}, digits = 3) => `${signed(value, digits)} [${signed(low, digits)}, ${signed(high, digits)}]`;

/** A value with its interval on a line from -most to most, with 0 in the middle and a grey band of chance. */
export const interval = (estimate, most, label, band = 0) => {
  const width = 150, height = 16, x = value => width / 2 * (1 + Math.max(-1, Math.min(1, value / (most || 1))));
  return picture(width, height, `${label}: ${figure(estimate)}`,
    band ? svg('rect', {x: x(-band), y: 2, width: x(band) - x(-band), height: 12, class: 'why-band'}) : null,
    svg('line', {x1: 0, x2: width, y1: 8, y2: 8, class: 'why-axis'}), svg('line', {x1: width / 2, x2: width / 2, y1: 1, y2: 15, class: 'why-axis'}),
    svg('line', {x1: x(estimate.low), x2: x(estimate.high), y1: 8, y2: 8, class: `why-range ${side(estimate.value)}`}),
    svg('circle', {cx: x(estimate.value), cy: 8, r: 4, class: `why-dot ${side(estimate.value)}`}));
};

/** lambda over g for a threshold and a gain, with one component's place on it. */
export const elasticCurve = (tau, lambda, g) => {
  const width = 260, height = 130, left = 26, bottom = height - 18, most = Math.max(1e-9, lambda(1));
  const x = value => left + (width - left - 6) * (value + 1) / 2, y = value => bottom / 2 + 6 - (bottom / 2 - 8) * value / most;
  const points = Array.from({length: 81}, (_, n) => -1 + n / 40).map(value => `${x(value)},${y(lambda(value))}`).join(' ');
  return picture(width, height, `λ as a function of g: 0 up to |g| = ${tau.toFixed(3)}, then straight. Here g is ${signed(g, 3)} and λ ${signed(lambda(g), 3)}.`,
    svg('rect', {x: x(-tau), y: 4, width: x(tau) - x(-tau), height: bottom - 4, class: 'why-band'}),
    svg('line', {x1: left, x2: width - 4, y1: y(0), y2: y(0), class: 'why-axis'}), svg('line', {x1: x(0), x2: x(0), y1: 4, y2: bottom, class: 'why-axis'}),
    svg('polyline', {points, class: 'why-line'}), svg('circle', {cx: x(g), cy: y(lambda(g)), r: 5, class: `why-dot ${side(g)}`}),
    svg('text', {x: width - 4, y: height - 4, 'text-anchor': 'end', text: 'g'}), svg('text', {x: 2, y: 12, text: 'λ'}),
    svg('text', {x: x(tau), y: height - 4, 'text-anchor': 'middle', text: `ρα = ${tau.toFixed(2)}`}));
};

/** Two rows of bars over the same bins: the wanted side upwards, the other downwards. */
export const histogram = ({edges, positive, negative}, label) => {
  const width = 260, height = 96, middle = height / 2 - 6, most = Math.max(1, ...positive, ...negative), step = width / positive.length;
  const bars = (counts, name, up) => counts.map((count, n) => svg('rect', {
    x: n * step + 0.5, width: Math.max(1, step - 1), height: middle * count / most, y: up ? middle - middle * count / most : middle, class: `why-bar ${name}`}));
  return picture(width, height, `${label}, from ${edges[0].toPrecision(3)} to ${edges.at(-1).toPrecision(3)}`,
    ...bars(positive, 'for', true), ...bars(negative, 'against', false), svg('line', {x1: 0, x2: width, y1: middle, y2: middle, class: 'why-axis'}),
    svg('text', {x: 0, y: height - 1, text: edges[0].toPrecision(2)}), svg('text', {x: width, y: height - 1, 'text-anchor': 'end', text: edges.at(-1).toPrecision(2)}));
};

const readable = token => token.replaceAll('\n', '↵') || ' ';
const tint = (value, most) => value === 0 || !most ? '' : `color-mix(in srgb, var(--${side(value)}) ${Math.round(70 * Math.min(1, Math.abs(value) / most))}%, transparent)`;

/** A text whose tokens are tinted by a value each. */
export const tinted = (tokens, values, label, {digits = 3} = {}) => {
  const most = Math.max(...values.map(Math.abs));
  return make('p', {className: 'why-tokens', 'aria-label': label}, ...tokens.map((token, n) => {
    const node = make('span', {textContent: readable(token), title: `${signed(values[n], digits)}`});
    node.style.backgroundColor = tint(values[n], most);
    return node;
  }));
};

/** Where a head looks: a matrix with a row for each token that looks, and the text, tinted by the row that is pointed at. */
export const attention = (tokens, original, edited, label) => {
  const n = tokens.length, size = 220, cell = size / n;
  const difference = edited?.map((row, y) => row.map((value, x) => value - original[y][x]));
  const views = {Original: original, ...(edited ? {Edited: edited, 'Edited minus original': difference} : {})};
  const told = make('p', {className: 'status'}), holder = make('div');
  const spans = tokens.map((token, at) => make('span', {textContent: readable(token), tabIndex: 0, onmouseenter: () => mark(at), onfocus: () => mark(at)}));
  let rows = original, most = 1, at = n - 1;
  const mark = row => {
    at = row;
    spans.forEach((node, column) => {
      node.style.backgroundColor = column <= row ? tint(rows[row][column], most) : '';
      node.classList.toggle('looks', column === row);
    });
    const best = rows[row].slice(0, row + 1).reduce((best, value, column) => Math.abs(value) > Math.abs(rows[row][best]) ? column : best, 0);
    told.textContent = `“${readable(tokens[row])}”: most at “${readable(tokens[best])}”, ${signed(100 * rows[row][best], 1)} of 100.`;
  };
  const turn = name => {
    rows = views[name];
    most = rows === difference ? Math.max(1e-9, ...rows.flat().map(Math.abs)) : 1;
    const cells = rows.flatMap((row, y) => row.slice(0, y + 1).map((value, x) => Math.abs(value) / most < 0.005 ? null : svg('rect', {
      x: x * cell, y: y * cell, width: cell, height: cell, class: `why-cell ${side(value)}`, style: `fill-opacity:${Math.min(1, Math.abs(value) / most).toFixed(3)}`})));
    const matrix = picture(size, size, `${label}, ${name.toLowerCase()}: a row for each token that looks, a column for each that it looks at`,
      svg('rect', {x: 0, y: 0, width: size, height: size, class: 'why-frame'}), ...cells);
    matrix.addEventListener('mousemove', event => {
      const box = matrix.getBoundingClientRect();
      mark(Math.max(0, Math.min(n - 1, Math.floor((event.clientY - box.top) / box.height * n))));
    });
    holder.replaceChildren(matrix);
    mark(at);
  };
  const choice = make('div', {className: 'segments', role: 'group', 'aria-label': 'Whose attention'}, ...Object.keys(views).map((name, first) => make('button', {
    type: 'button', textContent: name, 'aria-pressed': String(!first),
    onclick: event => {
      for (const one of choice.children) one.setAttribute('aria-pressed', String(one === event.target));
      turn(name);
    }})));
  turn('Original');
  return make('div', {}, edited ? choice : null, make('div', {className: 'why-attention'}, holder, make('div', {}, make('p', {className: 'why-tokens'}, ...spans), told)));
};

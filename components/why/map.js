// Attribution against cause: every component that was tried as a dot, g to the right and the measured effect upwards.
// Draws {busy, n_texts, rows: [{number, name, g, how, margin, margin_low, margin_high, kl}], agreement, unneeded, overlooked}.

import {make, signed} from '../studio/dom.js';
import {figure, picture, svg} from './draw.js';

const HOWS = {
  zeroed: ['Zeroed', 'its output is taken away'], mean: ['Set to its mean', 'it says the same everywhere'],
  'edited alone': ['Edited alone', 'the edit of this one and no other'], 'left out': ['Left out', 'the whole edit without this one'],
};
const WIDTH = 560, HEIGHT = 320, LEFT = 58, BOTTOM = 36;
const cut = (values, share) => values.sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))];

export const start = ({element, props, watch}) => {
  const root = element.querySelector('.why-map');
  let how = 'zeroed', kind = 'all';
  const choice = (label, options, read, choose) => make('div', {className: 'segments', role: 'group', 'aria-label': label},
    ...options.map(([value, text]) => {
      const one = make('button', {type: 'button', textContent: text, onclick: () => { choose(value); draw(); }});
      one.dataset.value = value;
      one.setAttribute('aria-pressed', String(read() === value));
      return one;
    }));
  const names = list => list.length ? list.map(({name, number, g, margin}) => make('li', {}, make('button', {
    type: 'button', className: 'quiet', textContent: name, onclick: () => window.steer2edit.focus?.(number)}), ` g ${signed(g, 2)}, effect ${signed(margin, 3)}`))
    : [make('li', {textContent: 'none'})];

  const draw = () => {
    const value = props.value;
    root.hidden = !value || !value.rows;
    if (root.hidden) return;
    const rows = value.rows.filter(row => row.how === how && (kind === 'all' || row.kind === kind) && Number.isFinite(row.margin));
    const agreed = value.agreement.find(one => one.how === how && one.kind === (kind === 'all' ? 'all' : `${kind}s`));
    const taken = how === 'zeroed' || how === 'mean';
    root.replaceChildren(
      make('div', {className: 'bar'}, choice('What is done to each component', Object.entries(HOWS).map(([name, [text]]) => [name, text]), () => how, name => { how = name; }),
        choice('Which components', [['all', 'All'], ['head', 'Heads'], ['neuron', 'Neurons']], () => kind, name => { kind = name; })),
      make('p', {className: 'status', textContent: `${HOWS[how][0]}: ${HOWS[how][1]}. Upwards: what that changes of the mean log-likelihood of wanted minus unwanted answers, in nats a token, over ${value.n_texts} answers; lines are 95 % intervals. `
        + (agreed?.value === null || !agreed ? 'Too few components have an effect to compare ranks.'
          : `Rank agreement of ${taken ? 'g with what is lost' : '|g| with what the edit gains'}: ${figure(agreed, 2)}, where 1 is the same order and 0 none.`)}),
      make('div', {className: 'why-friends'}, plot(rows),
        make('section', {}, make('h3', {textContent: 'Large g, no clear effect when zeroed'}), make('ol', {}, ...names(value.unneeded))),
        make('section', {}, make('h3', {textContent: 'Small g, and yet needed'}), make('ol', {}, ...names(value.overlooked)))));
  };

  const plot = rows => {
    const most = Math.max(1e-6, cut(rows.flatMap(row => [Math.abs(row.margin_low), Math.abs(row.margin_high)]), 0.99) || 0);
    const wide = Math.max(0.1, ...rows.map(row => Math.abs(row.g)));
    const x = g => LEFT + (WIDTH - LEFT - 24) * (1 + g / wide) / 2, y = value => (HEIGHT - BOTTOM) / 2 * (1 - Math.max(-1, Math.min(1, value / most)) * 0.96);
    const dot = row => {
      const clear = row.margin_low > 0 || row.margin_high < 0, label = `${row.name}: g ${signed(row.g, 3)}, effect ${figure({value: row.margin, low: row.margin_low, high: row.margin_high})}, KL ${row.kl.toFixed(4)}`;
      const open = () => window.steer2edit.focus?.(row.number);
      return svg('g', {class: `why-one ${row.kind} ${clear ? 'clear' : ''}`, tabindex: clear ? 0 : -1, role: 'button', 'aria-label': label, onclick: open, onkeydown: event => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); open(); } }},
        svg('line', {x1: x(row.g), x2: x(row.g), y1: y(row.margin_low), y2: y(row.margin_high)}),
        row.kind === 'head' ? svg('rect', {x: x(row.g) - 4, y: y(row.margin) - 4, width: 8, height: 8}) : svg('circle', {cx: x(row.g), cy: y(row.margin), r: 3}),
        svg('title', {text: label}));
    };
    const ticks = [-1, -0.5, 0.5, 1].map(share => svg('text', {x: LEFT - 6, y: y(share * most) + 4, 'text-anchor': 'end', text: signed(share * most, most < 0.1 ? 4 : 2)}));
    const drawing = picture(WIDTH, HEIGHT, `${rows.length} components: g to the right, effect upwards`,
      svg('line', {x1: LEFT, x2: WIDTH - 24, y1: y(0), y2: y(0), class: 'why-axis'}), svg('line', {x1: x(0), x2: x(0), y1: 4, y2: HEIGHT - BOTTOM, class: 'why-axis'}),
      ...ticks, ...[-1, -0.5, 0.5, 1].map(share => svg('text', {x: x(share * wide), y: HEIGHT - BOTTOM + 16, 'text-anchor': 'middle', text: signed(share * wide, 2)})),
      svg('text', {x: (WIDTH + LEFT) / 2, y: HEIGHT - 4, 'text-anchor': 'middle', text: 'alignment g; squares are heads, dots neurons'}),
      ...[...rows].sort((a, b) => Math.abs(a.margin) - Math.abs(b.margin)).map(dot));
    drawing.setAttribute('role', 'group');
    return drawing;
  };
  watch('value', draw);
  draw();
};

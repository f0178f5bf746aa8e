// How often the original and the edited model refuse: a share with its interval for each, on one scale.
// Draws {safety, prompts, rows: [{label, value, low, high}]}.

import {make, percent} from '../studio/dom.js';
import {picture, svg} from './draw.js';

const WIDTH = 240;

export const start = ({element, props, watch}) => {
  const root = element.querySelector('.why-refusals');
  const row = ({label, value, low, high}, n) => {
    const x = share => 4 + (WIDTH - 8) * share, words = `${percent(value)} [${percent(low)}, ${percent(high)}]`, name = n ? 'for' : 'plain';
    return make('tr', {}, make('th', {scope: 'row', textContent: label}), make('td', {}, picture(WIDTH, 18, `${label}: ${words}`,
      svg('line', {x1: 4, x2: WIDTH - 4, y1: 9, y2: 9, class: 'why-axis'}), ...[0, 0.5, 1].map(at => svg('line', {x1: x(at), x2: x(at), y1: 3, y2: 15, class: 'why-axis'})),
      svg('line', {x1: x(low), x2: x(high), y1: 9, y2: 9, class: `why-range ${name}`}), svg('circle', {cx: x(value), cy: 9, r: 4.5, class: `why-dot ${name}`}))), make('td', {textContent: words}));
  };
  const draw = () => {
    const value = props.value;
    root.hidden = !value || !value.rows;
    if (root.hidden) return;
    root.dataset.edit = value.edit || '';
    root.classList.remove('outdated');
    root.replaceChildren(
      make('h3', {textContent: 'How often do they refuse?'}),
      make('table', {}, make('tbody', {}, ...value.rows.map(row))),
      make('p', {className: 'status', textContent: `Share of ${value.prompts} held-out requests of “${value.safety}” that are refused, one sampled answer each with the same random seeds, and Wilson’s 95% interval.`}));
  };
  document.addEventListener('studio:rested', ({detail}) => root.classList.toggle('outdated', root.dataset.edit !== detail.made));
  watch('value', draw);
  draw();
};

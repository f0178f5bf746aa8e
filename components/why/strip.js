// Where the texts part: the original's own answer, token by token, tinted by how far the edited model's next word differs.
// Draws {tokens: [{token, kl, original: [[token, share]], variant, differs}], moved: [share of each layer], first, mean_kl}.

import {make} from '../studio/dom.js';
import {picture, svg} from './draw.js';

const readable = token => token.replaceAll('\n', '↵') || ' ';
const shares = list => list.map(([token, share]) => `“${readable(token)}” ${(100 * share).toFixed(0)}%`).join(', ');

export const start = ({element, props, watch}) => {
  const root = element.querySelector('.why-strip');
  const draw = () => {
    const value = props.value;
    root.hidden = !value || !value.tokens;
    if (root.hidden) return;
    root.dataset.edit = value.edit || '';
    root.classList.remove('outdated');
    const {tokens, first, moved: layers} = value, most = Math.max(1e-6, ...tokens.map(one => one.kl)), told = make('p', {className: 'status', 'aria-live': 'polite'});
    const show = n => {
      const {token, kl, original, variant} = tokens[n];
      told.textContent = `Instead of “${readable(token)}”: KL ${kl.toFixed(3)} nats. Original: ${shares(original)}. Edited: ${shares(variant)}.`;
    };
    const spans = tokens.map(({token, kl}, n) => {
      const node = make('span', {textContent: readable(token), tabIndex: 0, onmouseenter: () => show(n), onfocus: () => show(n)});
      node.style.backgroundColor = `color-mix(in srgb, var(--mark) ${Math.round(100 * Math.min(1, kl / most))}%, transparent)`;
      node.classList.toggle('parts', n === first);
      return node;
    });
    const top = Math.max(1e-9, ...layers), height = 46, step = 14;
    root.replaceChildren(
      make('p', {className: 'asked', textContent: value.busy || (first === null ? 'The edited model would have written the same, token by token.' : `The edited model would leave the original’s text at the underlined token, the ${first + 1}. of ${tokens.length}; on average KL ${value.mean_kl.toFixed(3)} nats a token.`)}),
      make('p', {className: 'why-tokens', 'aria-label': 'The original’s answer, tinted by divergence'}, ...spans), told,
      ...(layers.length ? [make('p', {className: 'status', textContent: 'How far the edit has moved the residual stream after each layer, beside its length there:'}),
      picture(layers.length * step + 8, height, layers.map((share, n) => `layer ${n}: ${(100 * share).toFixed(1)}%`).join(', '),
        ...layers.map((share, n) => svg('rect', {x: 4 + n * step, width: step - 3, y: height - 2 - (height - 6) * share / top, height: (height - 6) * share / top, class: 'why-bar for'},
          svg('title', {text: `layer ${n}: ${(100 * share).toFixed(1)}%`}))))] : []));
    show(first ?? 0);
  };
  document.addEventListener('studio:rested', ({detail}) => root.classList.toggle('outdated', root.dataset.edit !== detail.made));
  watch('value', draw);
  draw();
};

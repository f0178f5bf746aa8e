// The bar below the pictures: what their colour means, which components the rule may take, undo and redo.

import {make} from './dom.js';
import {onlyKind, selectNone, selectRule, setLayers} from './settings.js';

const MODES = [['g', 'what it is'], ['lambda', 'what the edit does'], ['when', 'when it acts']];

export const selection = (root, {told, context, change, setMode, undo, redo}) => {
  const facts = () => context().facts;
  const button = (id, text, action) => make('button', {type: 'button', id, textContent: text, title: told[id] || '', onclick: action});
  const modes = make('div', {id: 'color', className: 'segments', role: 'group', 'aria-label': 'What colour means'}, ...MODES.map(([mode, text]) => {
    const one = make('button', {type: 'button', textContent: text, onclick: () => setMode(mode)});
    one.dataset.mode = mode;
    return one;
  }));
  const layer = (id, text) => {
    const input = make('input', {type: 'number', min: 0, step: 1, 'aria-label': text, onchange: () => restrict()});
    return {node: make('label', {id, className: 'inline'}, make('span', {textContent: text}), input), input};
  };
  const first = layer('first-layer', 'From layer'), last = layer('last-layer', 'to layer');
  const restrict = () => {
    const end = facts().n_layers - 1, read = (input, empty) => input.value === '' ? empty : Math.min(end, Math.max(0, Math.round(+input.value)));
    change(settings => setLayers(facts(), settings, read(first.input, 0), read(last.input, end)), 'layers');
  };
  const tools = make('button', {type: 'button', id: 'map-tools', textContent: 'Tools', title: told['map-tools'] || '', 'aria-pressed': 'false', onclick: () => {
    const on = document.querySelector('#maps').classList.toggle('with-tools');
    tools.setAttribute('aria-pressed', String(on));
  }});
  const back = button('undo', 'Undo', undo), forth = button('redo', 'Redo', redo);
  root.append(modes,
    button('above', 'All above threshold', () => change(selectRule)), button('none', 'None', () => change(selectNone)),
    button('heads-only', 'Heads only', () => change(settings => onlyKind(facts(), settings, 'heads'))),
    button('neurons-only', 'Neurons only', () => change(settings => onlyKind(facts(), settings, 'neurons'))),
    first.node, last.node, tools, back, forth);
  return ({settings, mode, history}) => {
    for (const one of modes.children) {
      one.setAttribute('aria-pressed', String(one.dataset.mode === mode));
      one.hidden = one.dataset.mode === 'when' && !facts().has_texts;
    }
    const end = facts().n_layers - 1, [from, to] = settings.layers || [0, end];
    for (const [{input}, value] of [[first, from], [last, to]]) {
      input.max = end;
      if (document.activeElement !== input) input.value = value;
    }
    back.disabled = !history.past.length;
    forth.disabled = !history.future.length;
  };
};

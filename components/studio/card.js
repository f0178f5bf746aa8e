// One component in detail: its figures, why it is or is not edited, and what can be done with it.

import {pairOf} from './facts.js';
import {make} from './dom.js';
import {ofComponent, setOfComponent} from './settings.js';
import {cardRows, reason, title} from './words.js';

export const card = (root, {change, onToggle, onKeepOnly, onAlone, onWhy}) => {
  const head = make('h3', {'aria-level': 3}), why = make('p'), rows = make('table');
  const range = make('input', {type: 'range', min: 0, max: 3, step: 0.05, 'aria-label': 'Its own strength'});
  const number = make('input', {type: 'number', min: 0, max: 3, step: 0.05, 'aria-label': 'Its own strength, as a number'});
  const toggle = make('button', {type: 'button', id: 'switch', onclick: () => onToggle()});
  const keep = make('button', {type: 'button', id: 'keep-only', textContent: 'Edit only this one', onclick: () => onKeepOnly()});
  const alone = make('button', {type: 'button', id: 'alone', textContent: 'Ask 8 times with it alone', onclick: () => onAlone()});
  const inside = make('button', {type: 'button', id: 'why', textContent: 'Why?', title: 'Luck, cause, when it acts and what it says', onclick: () => onWhy()});
  const dial = make('div', {id: 'own-strength', className: 'dial'}, make('div', {className: 'head'},
    make('label', {}, make('span', {textContent: 'Its own strength'}), make('small', {className: 'info-text', textContent: 'multiplies the edit of this one'})), number), range);
  root.append(make('h2', {textContent: 'One component'}), make('div', {id: 'inspector'}, head, why, rows), dial,
    make('div', {className: 'bar'}, inside, toggle, keep, alone));
  let latest = null;
  for (const input of [range, number]) input.addEventListener('input', () => {
    if (input.value === '' || !latest) return;
    (input === range ? number : range).value = input.value;
    const pair = pairOf(latest.facts, latest.focus), factor = Math.min(3, Math.max(0, +input.value));
    change(settings => setOfComponent(settings, pair, factor), `strength ${pair}`);
  });
  return state => {
    const {facts, settings, edit, file, focus} = latest = state;
    root.classList.toggle('empty', focus < 0);
    range.disabled = number.disabled = toggle.disabled = keep.disabled = alone.disabled = inside.disabled = focus < 0;
    if (focus < 0) {
      head.textContent = '';
      why.textContent = 'Click a cell of a picture or a row of the table.';
      rows.replaceChildren();
      return;
    }
    head.textContent = title(facts, focus);
    why.textContent = reason(facts, settings, edit, file, focus);
    rows.replaceChildren(...cardRows(facts, edit, file, focus).map(([name, value, note]) =>
      make('tr', {}, make('th', {textContent: name, scope: 'row'}), make('td', {textContent: value}), make('td', {textContent: note}))));
    const factor = ofComponent(settings, pairOf(facts, focus));
    for (const input of [range, number]) if (document.activeElement !== input) input.value = factor;
    toggle.textContent = edit.edited[focus] ? 'Leave it out' : 'Edit it too';
  };
};

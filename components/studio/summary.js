// The figures of the edit and one sentence about it. Knows where they stand on the page.

import {make} from './dom.js';
import {figures, verdict} from './words.js';

export const summary = root => {
  const row = make('div', {className: 'figures'}), line = make('p', {className: 'verdict'});
  root.append(row, line);
  return ({facts, settings, edit, file, waiting, made}) => {
    root.dataset.edit = made;
    root.setAttribute('aria-busy', String(waiting));
    row.replaceChildren(...figures(facts, edit, file).map(({number, label, told}) =>
      make('div', {className: 'figure', title: told || ''}, make('b', {textContent: number}), make('span', {textContent: label}))));
    const {level, sentence} = verdict(facts, edit.settings || settings, edit, file);
    line.className = `verdict ${level}`;
    line.textContent = waiting ? 'Fitting the edit on texts …' : sentence;
  };
};

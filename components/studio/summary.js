// The figures of the edit, one sentence about it, and how much of it chance alone would select. Knows where they stand on the page.

import {make} from './dom.js';
import {chanceWords, figures, verdict} from './words.js';

export const summary = (root, {readChance}) => {
  const row = make('div', {className: 'figures'}), line = make('p', {className: 'verdict'});
  const words = make('span'), wish = make('button', {type: 'button', className: 'quiet', textContent: 'Read it', onclick: () => readChance()});
  root.append(row, line, make('p', {id: 'by-chance'}, words, ' ', wish));
  return ({facts, settings, edit, file, waiting, made}) => {
    root.dataset.edit = made;
    root.setAttribute('aria-busy', String(waiting));
    row.replaceChildren(...figures(facts, edit, file).map(({number, label, told}) =>
      make('div', {className: 'figure', title: told || ''}, make('b', {textContent: number}), make('span', {textContent: label}))));
    words.textContent = chanceWords(facts, edit.settings || settings, edit, file);
    wish.hidden = !facts.wait?.waits;
    const {level, sentence} = verdict(facts, edit.settings || settings, edit, file);
    line.className = `verdict ${level}`;
    line.textContent = waiting ? 'Fitting the edit on texts …' : sentence;
  };
};

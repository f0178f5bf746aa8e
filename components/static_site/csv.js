// All components with their figures as CSV, from what the page has: components/take_home/table.py writes the same in the app.

import {bandOf, isBeyond} from '../studio/chance.js';
import {columnOf, layerOf} from '../studio/facts.js';
import {ranking, what} from '../studio/table.js';

const COLUMNS = ['edited', 'kind', 'layer', 'index', 'g', 'λ', '|ΔW| / |W|', 'mean contribution', 'adds on the behaviour', 'adds on harmless'];
const CHANCE_COLUMNS = ['chance band', 'beyond chance'], RANDOM_COLUMNS = ['random band', 'beyond random'];
const figure = value => Number(value.toPrecision(7)) || 0;   // never -0
const truth = value => value ? 'True' : 'False';

/** One line for each component, the largest |g| first; `edit` has {edited, lam, change, on, off}. */
export const csvOf = (facts, edit) => {
  const row = i => [
    truth(edit.edited[i]), what(facts, i), layerOf(facts, i), columnOf(facts, i), figure(facts.g[i]), figure(edit.lam[i]), figure(edit.change[i]),
    figure(facts.contributions[i]), figure(edit.on[i]), figure(edit.off[i]), figure(bandOf(facts, i)), truth(isBeyond(facts, i))];
  const head = [...COLUMNS, ...(facts.chance ? CHANCE_COLUMNS : RANDOM_COLUMNS)];
  return `${[head, ...ranking(facts, 'all', Infinity).map(row)].map(cells => cells.join(',')).join('\n')}\n`;
};

export const download = (name, text) => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type: 'text/csv'}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};

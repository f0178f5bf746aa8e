// Components ranked by |g|, strongest first, with what the current edit does to each. The ranking depends on the scores
// alone, so that a row keeps its component while dials move.

import {bandOf, isBeyond} from './chance.js';
import {columnOf, kindOf, layerOf, nameOf} from './facts.js';
import {make, signed} from './dom.js';

const COLUMNS = ['edited', 'kind', 'layer', 'index', 'g', 'by chance', 'λ', '|ΔW| / |W|', 'mean contribution'];
const WHEN_COLUMNS = ['on its texts', 'on harmless'];
export const SHOWN = [['all', 'All'], ['heads', 'Heads'], ['neurons', 'Neurons']];

/** Global numbers of the `most` strongest of the shown kinds. */
export const ranking = (facts, shown, most) => {
  const sites = facts.sites.map((site, i) => shown === 'all' || site.kind === shown ? i : -1).filter(i => i >= 0);
  const numbers = sites.flatMap(site => Array.from({length: facts.sites[site].n}, (_, i) => facts.offset[site] + i));
  return numbers.sort((a, b) => Math.abs(facts.g[b]) - Math.abs(facts.g[a]) || rank(facts, a) - rank(facts, b) || a - b).slice(0, most);
};
const rank = (facts, i) => kindOf(facts, i) === 'heads' ? 0 : 1;   // ties: heads first, as everywhere on the page

export const what = (facts, i) => {
  const kind = kindOf(facts, i).slice(0, -1), name = nameOf(facts, i);
  return name.startsWith(`${kind} `) && !name.includes('(') ? kind : name;
};

export const table = (root, {onSwitch, onFocus}) => {
  const body = make('tbody'), head = make('tr'), choice = make('div', {id: 'shown', className: 'segments', role: 'group'});
  let shown = 'all', numbers = [], latest = null, limit = 100, made = '';
  choice.append(...SHOWN.map(([value, text]) => make('button', {
    type: 'button', textContent: text, 'aria-pressed': String(value === shown), onclick: event => {
      shown = value;
      for (const one of choice.children) one.setAttribute('aria-pressed', String(one === event.currentTarget));
      made = '';
      if (latest) draw(latest);
    },
  })));
  const csv = make('button', {type: 'button', textContent: 'All as CSV', onclick: () => document.querySelector('#components-csv')?.click()});
  root.append(make('div', {className: 'bar'}, make('h2', {textContent: 'Components, ranked by |g|'}), csv, choice),
    make('p', {className: 'status', textContent: 'Click a row to look at its component; tick it to edit it.'}),
    make('div', {className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Components, ranked by |g|'},
      make('table', {id: 'table'}, make('thead', {}, head), body)));

  const row = (facts, i) => {
    const tick = make('input', {type: 'checkbox', 'aria-label': `edit ${nameOf(facts, i)} of layer ${layerOf(facts, i)}`,
      onchange: () => onSwitch(i, tick.checked), onclick: event => event.stopPropagation()});
    const cells = [what(facts, i), layerOf(facts, i), columnOf(facts, i), signed(facts.g[i], 3), '', '', '', signed(facts.contributions[i], 4)];
    const node = make('tr', {tabIndex: 0, onclick: () => onFocus(i), onkeydown: event => { if (event.key === 'Enter' && event.target === node) onFocus(i); }},
      make('td', {}, tick), ...cells.map(text => make('td', {textContent: text})));
    node.dataset.number = i;
    return node;
  };
  const fill = (node, i, facts, edit) => {
    node.firstChild.firstChild.checked = Boolean(edit.edited[i]);
    node.classList.toggle('edited', edit.lam[i] !== 0);
    node.classList.toggle('beyond', isBeyond(facts, i));
    node.children[5].textContent = `${isBeyond(facts, i) ? 'beyond' : 'within'} ${bandOf(facts, i).toFixed(3)}`;
    node.children[6].textContent = edit.lam[i] === 0 ? '0' : signed(edit.lam[i], 3);
    node.children[7].textContent = edit.change[i].toFixed(3);
    const when = edit.on ? [signed(edit.on[i], 4), signed(edit.off[i], 4)] : [];
    while (node.children.length > COLUMNS.length + when.length) node.lastChild.remove();
    when.forEach((text, n) => {
      const cell = node.children[COLUMNS.length + n] || node.appendChild(make('td'));
      cell.textContent = text;
    });
  };
  const draw = ({facts, edit, focus}) => {
    if (made !== `${facts.key} ${shown}`) {
      made = `${facts.key} ${shown}`;
      limit = facts.table_rows;
      numbers = ranking(facts, shown, limit);
      body.replaceChildren(...numbers.map(i => row(facts, i)));
    }
    head.replaceChildren(...[...COLUMNS, ...(edit.on ? WHEN_COLUMNS : [])].map(text => facts.chance || text !== 'by chance' ? text : 'random').map(text => make('th', {textContent: text, scope: 'col'})));
    [...body.children].forEach((node, n) => {
      fill(node, numbers[n], facts, edit);
      node.setAttribute('aria-current', String(numbers[n] === focus));
    });
  };
  return state => { latest = state; draw(state); };
};

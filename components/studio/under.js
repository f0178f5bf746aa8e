// An edit that stays while another behaviour is chosen: the edit of the page lies on top of it, each with a strength of
// its own. Knows how it looks; what it means is the server's.

import {make} from './dom.js';

/** `read` gives what lies under or null, `keep` puts the edit of the page there, `weigh` changes its strength. */
export const under = (root, {read, keep, weigh, drop}) => {
  const range = make('input', {type: 'range', min: 0, max: 2, step: 0.05, 'aria-label': 'Strength of the edit below', oninput: () => weigh(+range.value)});
  const name = make('span'), amount = make('output');
  const line = make('div', {id: 'under', className: 'dial', hidden: true},
    make('div', {className: 'head'}, make('label', {}, name), amount, make('button', {type: 'button', className: 'quiet', textContent: 'Remove', onclick: drop})), range);
  const button = make('button', {type: 'button', id: 'keep-under', className: 'quiet', textContent: 'Keep this edit below another',
    title: 'Choose another behaviour then: its edit lies on top of this one in the comparison, and downloads contain both.', onclick: keep});
  root.append(line, button);
  return () => {
    const kept = read();
    line.hidden = !kept;
    if (!kept) return;
    name.textContent = `Below: ${kept.title}`;
    amount.textContent = `× ${(+kept.weight).toFixed(2)}`;
    range.style.setProperty('--filled', `${50 * kept.weight}%`);
    if (document.activeElement !== range) range.value = kept.weight;
  };
};

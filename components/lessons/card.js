// The card of a lesson: its heading, where one is in it, the text of a step and what can be pressed. Knows no lesson.

import {make} from '../studio/dom.js';
import {paragraphs, rich} from './words.js';

/** Builds the card into `root`, hidden; `show` draws a step: {kind, text, choices, chosen, buttons, position, many}. */
export const lessonCard = (root, {onLeave}) => {
  const eyebrow = make('p', {className: 'eyebrow'}), title = make('h2', {id: 'lesson-title', tabIndex: -1});
  const bar = make('i', {className: 'bar-of-steps', 'aria-hidden': 'true'}), body = make('div', {className: 'lesson-body'});
  const leave = make('button', {type: 'button', className: 'leave', onclick: onLeave}, '×');
  const live = make('p', {className: 'lesson-live', role: 'status'});
  const node = make('section', {id: 'lesson', hidden: true, 'aria-labelledby': 'lesson-title'},
    make('header', {}, make('div', {}, eyebrow, title), leave), bar, body, live);
  root.append(node);

  const show = ({say, name, kind, position, many, text, choices = [], choose, buttons = [], note = '', hint = ''}) => {
    node.hidden = false;
    leave.setAttribute('aria-label', say.say('ui.leave'));
    leave.title = say.say('ui.leave');
    node.lang = say.language;
    node.dataset.kind = kind;
    eyebrow.textContent = say.say('ui.step', {step: say.number(position), steps: say.number(many)});
    title.textContent = name;
    bar.style.setProperty('--share', position / many);
    const told = [make('p', {className: 'kind'}, say.say(`kinds.${kind}`)), ...paragraphs(text)];
    const look = choices.every(one => one.length < 3) ? 'choices numbers' : 'choices';
    const options = choices.length ? [make('div', {className: look, role: 'group', 'aria-label': say.say(`kinds.${kind}`)},
      ...choices.map((one, n) => make('button', {type: 'button', onclick: () => choose(n)}, one)))] : [];
    body.replaceChildren(...told, ...options, ...(note ? [make('p', {className: 'feedback'}, ...rich(note))] : []),
      ...(buttons.length ? [make('div', {className: 'buttons'}, ...buttons.map(({label, act, plain}) =>
        make('button', {type: 'button', className: plain ? 'quiet' : 'primary', onclick: act}, label)))] : []),
      ...(hint ? [make('p', {className: 'hint'}, ...rich(hint))] : []));
    body.scrollTop = 0;
    announce(told.map(one => one.textContent).join(' '));
  };
  const announce = text => { live.textContent = text; };
  return {
    node, body, show, announce, focus: () => title.focus({preventScroll: true}),
    hide: () => { node.hidden = true; live.textContent = ''; },
  };
};

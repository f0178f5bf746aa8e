// The menu of the lessons: five entries, the language, and the room of a class. Knows no lesson's steps.

import {make} from '../studio/dom.js';
import {spoken} from './room.js';

const entry = (say, {key, at, many}, number, open) => {
  const state = at >= many ? say.say('ui.done') : at > 0 ? say.say('ui.resume', {step: say.number(at + 1), steps: say.number(many)})
    : say.say(`lessons.${key}.minutes`);
  const button = make('button', {type: 'button', className: 'lesson-entry', onclick: () => open(number)},
    make('b', {}, say.number(number)), make('span', {}, say.say(`lessons.${key}.title`)), make('small', {}, state));
  button.dataset.done = String(at >= many);
  return make('li', {}, button);
};

const languageChoice = (say, languages, speak) => {
  const select = make('select', {onchange: () => speak(select.value)},
    ...Object.entries(languages).map(([code, name]) => make('option', {value: code}, name)));
  select.value = say.language;
  return make('label', {className: 'lesson-language'}, make('span', {}, say.say('ui.language')), select);
};

const link = (code, number) => {
  const url = new URL(window.location.pathname, window.location.origin);   // nothing of the teacher's own page
  url.searchParams.set('lesson', number);
  url.searchParams.set('room', code);
  return url.href;
};

const row = (field, label, act) =>
  make('div', {className: 'room-row'}, field, make('button', {type: 'button', onclick: act}, label));

const roomPart = ({say, room, entries, teach, join, leaveRoom}) => {
  const problem = make('p', {className: 'feedback', role: 'status'});
  const told = async promise => { problem.textContent = (await promise) || ''; };
  const now = room.now();
  if (now) {
    const number = Math.trunc(+new URL(window.location.href).searchParams.get('lesson')) || 1;
    return [make('p', {}, say.say(room.isTeacher() ? 'room.opened' : 'room.joined')),
      make('p', {className: 'room-code'}, spoken(now.code)),
      ...(room.isTeacher() ? [make('p', {className: 'room-link'}, link(now.code, number))] : []),
      make('button', {type: 'button', className: 'quiet', onclick: leaveRoom}, say.say('room.leave')), problem];
  }
  const which = make('select', {'aria-label': say.say('room.which')}, ...entries.map(({key}, n) =>
    make('option', {value: n + 1}, say.say(`lessons.${key}.title`))));
  const name = say.say('room.code');
  const code = make('input', {type: 'text', maxLength: 12, autocomplete: 'off', 'aria-label': name, placeholder: name});
  const enter = () => {
    const typed = code.value.toUpperCase().replace(/[^A-Z0-9]/g, '');
    if (typed) told(join(typed));
  };
  code.addEventListener('keydown', event => { if (event.key === 'Enter') enter(); });
  return [make('p', {}, say.say('room.what')),
    row(which, say.say('room.open'), () => told(teach(+which.value))), row(code, say.say('room.join'), enter), problem];
};

const roomFold = (root, options) => {
  const isOpen = root.querySelector('.lesson-room')?.open ?? Boolean(options.room.now());
  const fold = make('details', {className: 'lesson-room'}, make('summary', {}, options.say.say('room.title')), ...roomPart(options));
  fold.open = isOpen;
  return fold;
};

/** Draws the menu; `open`, `speak`, `teach` and `join` are what can be done. */
export const menu = (root, options) => {
  const {say, languages, entries, open, speak} = options;
  root.lang = say.language;
  const head = make('div', {className: 'lessons-head'}, make('h2', {}, say.say('ui.lessons')), languageChoice(say, languages, speak));
  const list = make('ol', {className: 'lesson-list'}, ...entries.map((one, n) => entry(say, one, n + 1, open)));
  root.replaceChildren(head, make('p', {className: 'status'}, say.say('ui.what')), list, ...(options.room.offered ? [roomFold(root, options)] : []));
};

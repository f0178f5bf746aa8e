// What a card shows of a room after a prediction: how many have predicted, the teacher's button, the histogram.

import {make} from '../studio/dom.js';

const histogram = (say, options, counts, mine) => {
  const most = Math.max(1, ...counts);
  return make('ol', {className: 'histogram', 'aria-label': say.say('room.histogram')}, ...options.map((text, n) => {
    const bar = make('i', {'aria-hidden': 'true'});
    bar.style.setProperty('--share', counts[n] / most);
    return make('li', {className: n === mine ? 'mine' : ''}, make('span', {}, text), bar, make('b', {}, say.number(counts[n])),
      ...(n === mine ? [make('small', {}, say.say('room.yours'))] : []));
  }));
};

/** Sends the prediction `mine` (its number among `options`) and draws into `root`; `next` goes on. Gives what ends it. */
export const roomCard = (root, {say, room, step, options, mine, next, announce}) => {
  const line = make('p', {className: 'waiting'}), place = make('div');
  const reveal = make('button', {type: 'button', className: 'primary', onclick: async () => show(await room.reveal(step))},
    say.say('room.reveal'));
  const go = make('button', {type: 'button', className: 'quiet', onclick: next}, say.say('room.alone'));
  let end = () => {};
  const show = known => {
    if (known.error) { line.textContent = known.error; return; }
    if (known.count === undefined) return;
    const name = known.revealed ? 'revealed' : room.isTeacher() ? 'so_far' : 'wait';
    line.textContent = say.say(`room.${name}`, {count: say.number(known.count)});
    if (!known.revealed) return;
    end();
    place.replaceChildren(histogram(say, options, known.counts, mine));
    reveal.remove();
    go.className = 'primary';
    go.textContent = say.say('ui.next');
    announce(line.textContent);
  };
  root.replaceChildren(line, place, make('div', {className: 'buttons'}, ...(room.isTeacher() ? [reveal] : []), go));
  line.textContent = say.say('room.sending');
  (async () => {
    const answer = await room.predict(step, mine);
    show(answer);
    if (!answer.revealed) end = room.follow(step, show);
  })();
  return () => end();
};

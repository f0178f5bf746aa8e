// Lesson 1: a behaviour is a direction. No push changes nothing; a push along the arrow changes the answers.

import {DIRECTIONS, asking, compared, countRight, countTruth, counts, siteVariant} from './steps.js';

const columns = now => ({original: now.columns[0], edited: now.columns[1]});
/** What the push did: '' where it brought more, 'same' where nothing is clear, 'easy' where the original shows it already. */
const came = ({notes: {ask_on: {original, edited}}, about}) => {
  const found = compared(edited, original, about.measure);
  const isEasy = about.measure !== 'length' && 2 * original.count > original.total;
  return found === 'same' && isEasy ? 'easy' : found === 'more' || about.measure === 'length' && found === 'fewer' ? '' : found;
};
const strength = settings => Math.max(settings.strength, 0.5);

export const direction = {
  key: 'direction',
  settings: facts => facts.suggested,
  steps: [
    {key: 'claim', kind: 'claim', values: ({now: {facts}, say}) => ({
      width: say.number(facts.d_model), layers: say.number(facts.n_layers),
    })},
    {key: 'zero', kind: 'predict', options: () => DIRECTIONS},
    {key: 'off', kind: 'act', target: '#strength', done: now => now.settings.strength === 0},
    asking('ask_off', {note: columns}),
    {key: 'nothing', kind: 'conclude', of: 'zero', target: '#rolls',
      truth: ({notes, about}) => compared(notes.ask_off.edited, notes.ask_off.original, about.measure),
      values: ({notes, said}) => ({original: said(notes.ask_off.original), edited: said(notes.ask_off.edited)})},
    {key: 'push', kind: 'predict', options: context => counts(context, context.notes.ask_off.original.total),
      values: ({notes, said}) => ({original: said(notes.ask_off.original)})},
    {key: 'on', kind: 'act', target: '#strength', done: now => now.settings.strength >= strength(now.facts.suggested),
      values: ({now, say}) => ({target: say.number(strength(now.facts.suggested))})},
    asking('ask_on', {note: columns}),
    {key: 'moved', kind: 'conclude', of: 'push', target: '#rolls', right: countRight,
      truth: context => countTruth(context, context.notes.ask_on.edited, context.notes.ask_on.original),
      variant: came, retry: context => came(context) ? 'ask_on' : '',
      values: ({notes, said}) => ({original: said(notes.ask_on.original), edited: said(notes.ask_on.edited)})},
    {key: 'sides', kind: 'question', target: '#swap', options: () => ['stays', 'turns', 'vanishes'], answer: () => 'turns'},
    {key: 'play', kind: 'play', target: '#prompt', variant: siteVariant},
  ],
};

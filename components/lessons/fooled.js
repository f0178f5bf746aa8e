// Lesson 5: fooled by luck, by length, by attribution. What a count of answers, a long answer and a large g do not show.

import {DIRECTIONS, asking, compared, countRight, countTruth, counts, lengths, ranked, siteVariant} from './steps.js';

const both = now => ({original: now.columns[0], edited: now.columns[1]});
/** The edited component with the largest |g|; the weakest neuron where nothing is edited. */
const top = now => ['heads', 'neurons'].flatMap(kind => ranked(now.facts, kind).filter(i => now.edit.lam[i] !== 0).slice(0, 1))
  .reduce((a, b) => Math.abs(now.facts.g[b]) > Math.abs(now.facts.g[a]) ? b : a, ranked(now.facts, 'neurons').at(-1));

export const fooled = {
  key: 'fooled',
  settings: facts => facts.suggested,
  steps: [
    {key: 'claim', kind: 'claim'},
    asking('first', {note: both}),
    {key: 'luck', kind: 'predict', options: context => counts(context, context.notes.first.original.total),
      values: ({notes, said}) => ({original: said(notes.first.original)})},
    {key: 'seed', kind: 'act', target: '#seed', done: (now, before) => now.seed !== '' && now.seed !== before.seed},
    asking('second', {note: both}),
    {key: 'dice', kind: 'conclude', of: 'luck', target: '#rolls', right: countRight,
      truth: context => countTruth(context, context.notes.second.original, context.notes.first.original),
      values: ({notes, said}) => ({first: said(notes.first.original), second: said(notes.second.original)})},
    {key: 'sham', kind: 'predict', options: context => counts(context, context.notes.second.original.total),
      values: ({now, say, notes, said}) => ({components: say.number(now.size.edited),
        original: said(notes.second.original), edited: said(notes.second.edited)})},
    {key: 'tick', kind: 'act', target: '#placebo', done: now => now.ticked('placebo')},
    asking('third', {enter: ({page}) => page.tick('placebo', true), done: now => now.ticked('placebo'),
      note: now => ({...both(now), placebo: now.columns.at(-1), length: now.length})}),
    {key: 'placebo', kind: 'conclude', of: 'sham', target: '#rolls', right: countRight,
      truth: context => countTruth(context, context.notes.third.placebo, context.notes.third.original),
      values: ({notes, said}) => ({original: said(notes.third.original), edited: said(notes.third.edited),
        placebo: said(notes.third.placebo)})},
    {key: 'length', kind: 'predict', options: () => DIRECTIONS},
    {key: 'read', kind: 'look', target: '#rolls', focus: '#rolls .roll-column:nth-child(2) .roll',
      done: (now, before) => now.columns[0]?.open !== before.columns[0]?.open},
    {key: 'long', kind: 'conclude', of: 'length', target: '#rolls',
      truth: ({notes}) => lengths(notes.third.edited, notes.third.original),
      variant: ({notes: {third}}) => third.original.tokens + third.edited.tokens >= 2 * third.length ? 'cut' : '',
      values: ({notes: {third}, say}) => ({
        limit: say.number(third.length),
        original: say.number(Math.round(third.original.tokens)), edited: say.number(Math.round(third.edited.tokens)),
      })},
    {key: 'large', kind: 'predict', options: () => DIRECTIONS, values: ({now, named, say, notes, said}) => ({
      name: named(top(now)), g: say.signed(now.facts.g[top(now)]), edited: said(notes.third.edited),
    })},
    {key: 'leave', kind: 'act', target: '#switch', enter: context => {
      context.notes.leave ??= {component: top(context.now)};
      context.page.focusOn(context.notes.leave.component);
    }, values: ({named, notes}) => ({name: named(notes.leave.component)}),
    done: (now, before, {notes}) => !now.edit.edited[notes.leave.component]},
    asking('without', {note: both}),
    {key: 'cause', kind: 'conclude', of: 'large', target: '#rolls',
      truth: ({notes, about}) => compared(notes.without.edited, notes.third.edited, about.measure),
      variant: ({notes, about}) => compared(notes.without.edited, notes.third.edited, about.measure) === 'same' ? '' : 'moved',
      values: ({named, notes, said}) => ({
        name: named(notes.leave.component),
        before: said(notes.third.edited), after: said(notes.without.edited),
      })},
    {key: 'evidence', kind: 'question', options: () => ['once', 'attribution', 'placebo', 'longer'],
      answer: () => 'placebo'},
    {key: 'play', kind: 'play', target: '#take-apart', variant: siteVariant},
  ],
};

// Lesson 2: who writes it. Heads and neurons write along the direction or against it, and one alone is seldom enough.

import {bandOf, countBeyond} from '../studio/chance.js';
import {answered, asking, compared, countRight, countTruth, counts, familySettings, ranked} from './steps.js';

const FIRST_DOTS = 20;   // where overlapping dots are all "the far left"
const lucky = (say, facts, kind) => {   // to the digit that the page shows
  const {expected} = facts.chance?.beyond[kind] || {expected: 0};
  return say.number(expected < 9.95 ? Math.round(10 * expected) / 10 : Math.round(expected));
};
const SHARES = [['few', 0.01], ['some', 0.1], ['many', 0.5], ['most', Infinity]];
const share = facts => SHARES.find(([, end]) => countBeyond(facts, 'neurons') / facts.kinds.neurons.count < end)[0];

/** Four heads (neurons where there are few heads): the lowest g, the highest, two between them; in the picture's order. */
const four = facts => {
  const kind = facts.kinds.heads.count >= 4 ? 'heads' : 'neurons';
  const all = ranked(facts, kind).sort((a, b) => facts.g[a] - facts.g[b]), last = all.length - 1;
  return [0, Math.floor(last / 3), Math.floor(2 * last / 3), last].map(n => all[n]).sort((a, b) => a - b);
};
const lowest = facts => four(facts).reduce((a, b) => facts.g[b] < facts.g[a] ? b : a);

export const writers = {
  key: 'writers',
  settings: facts => familySettings(facts, 'elastic'),
  steps: [
    {key: 'claim', kind: 'claim', values: ({now, say}) => ({
      heads: say.number(now.facts.kinds.heads.count), neurons: say.number(now.facts.kinds.neurons.count),
    })},
    {key: 'share', kind: 'predict', target: '#neurons-ranked', options: () => SHARES.map(([name]) => name),
      values: ({now, say}) => ({
      neurons: say.number(now.facts.kinds.neurons.count),
    })},
    {key: 'strongest', kind: 'look', target: '#neurons-ranked', focus: '#neurons-ranked [role=application]',
      done: (now, before) => now.made !== before.made && ranked(now.facts, 'neurons').slice(0, FIRST_DOTS).includes(now.focus),
      note: now => ({component: now.focus})},
    {key: 'band', kind: 'conclude', of: 'share', target: '#neurons-ranked', truth: ({now}) => share(now.facts),
      variant: ({now}) => now.facts.chance ? 'counted' : '',
      values: ({now, named, say, notes}) => ({
      name: named(notes.strongest.component), g: say.signed(now.facts.g[notes.strongest.component]),
      level: say.number(bandOf(now.facts, notes.strongest.component)), beyond: say.number(countBeyond(now.facts, 'neurons')),
      neurons: say.number(now.facts.kinds.neurons.count), beyond_heads: say.number(countBeyond(now.facts, 'heads')),
      heads: say.number(now.facts.kinds.heads.count), lucky: lucky(say, now.facts, 'neurons'), lucky_heads: lucky(say, now.facts, 'heads'),
    })},
    {key: 'undo', kind: 'act', target: '#undo', done: now => now.history.future.length > 0},
    asking('whole', {note: now => ({original: now.columns[0], edited: now.columns[1]})}),
    {key: 'alone', kind: 'predict', options: context => counts(context, context.notes.whole.original.total),
      values: ({named, notes, said}) => ({
      name: named(notes.strongest.component), original: said(notes.whole.original), edited: said(notes.whole.edited),
    })},
    {key: 'ask_alone', kind: 'act', target: '#alone',
      values: ({named, notes}) => ({name: named(notes.strongest.component)}),
      enter: ({notes, page}) => page.focusOn(notes.strongest.component),
      done: answered, note: now => ({edited: now.columns[1]})},
    {key: 'one', kind: 'conclude', of: 'alone', target: '#rolls', right: countRight,
      truth: context => countTruth(context, context.notes.ask_alone.edited, context.notes.whole.original),
      variant: ({notes: {ask_alone, whole}, about}) => {
        if (compared(ask_alone.edited, whole.original, about.measure) !== 'same') return 'strong';
        return compared(whole.edited, whole.original, about.measure) === 'same' ? 'neither' : '';
      },
      values: ({named, notes, said}) => ({
        name: named(notes.strongest.component), original: said(notes.whole.original), edited: said(notes.whole.edited),
        alone: said(notes.ask_alone.edited),
      })},
    {key: 'lowest', kind: 'question', target: '#maps', options: ({now}) => four(now.facts).map(String),
      answer: ({now}) => String(lowest(now.facts)),
      option: ({named}, value) => named(+value),
      values: ({now, say}) => ({g: say.signed(now.facts.g[lowest(now.facts)])})},
    {key: 'play', kind: 'play', target: '#maps', focus: '#heads [role=application]'},
  ],
};

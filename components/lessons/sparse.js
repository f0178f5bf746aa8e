// Lesson 3: why so few. The elastic net takes a threshold off |g|: few components, and what more of them cost.

import {countAbove, elasticNet, summarize, threshold} from '../studio/method.js';
import {setCount} from '../studio/settings.js';
import {asking, compared, countRight, countTruth, counts, familySettings, ranked} from './steps.js';

const MORE = 4;
const FEW = 10;   // neurons to begin with, where the suggestion has none
const CLEARLY = 0.9;   // of the threshold, so that two decimals tell the options from it
const settings = facts => {
  const start = familySettings(facts, 'elastic');
  return countAbove(facts, start, 'neurons') ? start : setCount(facts, start, 'neurons', FEW);   // it may edit heads alone
};
const neuronsOf = now => countAbove(now.facts, now.settings, 'neurons');
const target = ({now, notes}) =>
  Math.min(now.facts.kinds.neurons.count, MORE * Math.max(FEW, notes.few?.neurons ?? neuronsOf(now)));
const taken = now => {
  const strongest = ranked(now.facts, 'neurons')[0];
  return {original: now.columns[0], edited: now.columns[1], neurons: neuronsOf(now), strongest, lambda: now.edit.lam[strongest],
    relativeSize: summarize(now.facts, now.edit).relativeSize};
};
/** One neuron above the threshold, with a negative g if there is one, and three below it, the first with a positive g. */
const four = ({facts, settings}) => {
  const tau = threshold(settings, 'neurons') ?? Infinity, all = ranked(facts, 'neurons');
  const inside = all.filter(i => Math.abs(facts.g[i]) > tau), outside = all.filter(i => Math.abs(facts.g[i]) <= CLEARLY * tau);
  const middle = inside.slice(Math.floor(inside.length / 2)), one = middle.find(i => facts.g[i] < 0) ?? middle[0];
  const others = [outside.find(i => facts.g[i] > 0), ...[1 / 3, 2 / 3].map(part => outside[Math.floor(part * outside.length)])];
  return [...new Set([one, ...others])].filter(i => i !== undefined).sort((a, b) => a - b);
};

export const sparse = {
  key: 'sparse',
  settings,
  steps: [
    {key: 'claim', kind: 'claim', values: ({now: {facts}, say}) => {
      const few = summarize(facts, elasticNet(facts, settings(facts)));
      return {neurons: say.number(facts.kinds.neurons.count), edited: say.number(few.neurons), heads: say.number(few.heads)};
    }},
    asking('few', {note: taken}),
    {key: 'own', kind: 'predict', options: () => ['smaller', 'same', 'larger'], values: context => ({
      neurons: context.say.number(context.notes.few.neurons), target: context.say.number(target(context)),
      lambda: context.say.signed(context.notes.few.lambda),
    })},
    {key: 'more', kind: 'act', target: '#neurons-count',
      variant: context => target(context) > context.now.mostNeurons ? 'typed' : '',
      values: context => ({target: context.say.number(target(context)), digits: target(context)}),
      done: (now, before, context) => neuronsOf(now) >= target(context),
      note: now => ({lambda: now.edit.lam[ranked(now.facts, 'neurons')[0]], neurons: neuronsOf(now),
        relativeSize: summarize(now.facts, now.edit).relativeSize})},
    {key: 'gain', kind: 'conclude', of: 'own', target: '#summary',
      truth: ({notes}) => {
        const [a, b] = [Math.abs(notes.few.lambda), Math.abs(notes.more.lambda)];
        return Math.abs(a - b) < 0.005 ? 'same' : b > a ? 'larger' : 'smaller';
      },
      values: ({notes, say}) => ({
        before: say.signed(notes.few.lambda), after: say.signed(notes.more.lambda),
        size_before: say.percent(notes.few.relativeSize), size_after: say.percent(notes.more.relativeSize),
      })},
    {key: 'better', kind: 'predict', options: context => counts(context, context.notes.few.original.total),
      values: ({notes, said, say}) => ({
      few: say.number(notes.few.neurons), many: say.number(notes.more.neurons), original: said(notes.few.original),
        edited: said(notes.few.edited),
    })},
    asking('many', {note: taken}),
    {key: 'cost', kind: 'conclude', of: 'better', target: '#rolls', right: countRight,
      truth: context => countTruth(context, context.notes.many.edited, context.notes.few.edited),
      variant: ({notes: {few, many}, about}) => {
        if (compared(many.edited, few.edited, about.measure) !== 'same') return 'moved';
        return compared(many.edited, many.original, about.measure) === 'same' ? 'neither' : '';
      },
      values: ({notes, said, say}) => ({
        original: said(notes.many.original),
        few: say.number(notes.few.neurons), many: say.number(notes.many.neurons), before: said(notes.few.edited),
        after: said(notes.many.edited),
        size_before: say.percent(notes.few.relativeSize), size_after: say.percent(notes.many.relativeSize),
      })},
    {key: 'passes', kind: 'question', options: ({now}) => four(now).map(String),
      answer: ({now}) => String(four(now).find(i => Math.abs(now.facts.g[i]) > (threshold(now.settings, 'neurons') ?? Infinity))),
      option: ({now, say}, value) => `g = ${say.signed(now.facts.g[+value])}`,
      values: ({now, say}) => ({threshold: say.number(threshold(now.settings, 'neurons') ?? 0)})},
    {key: 'play', kind: 'play', target: '#advanced', enter: ({page}) => page.openFold('advanced')},
  ],
};

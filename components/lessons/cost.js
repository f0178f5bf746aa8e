// Lesson 4: edit against steering against a gate. What each brings on the behaviour's own question, and how many answers
// to a harmless one it changes.

import {familyOf} from '../studio/settings.js';
import {DIRECTIONS, asking, compared, everyCount, familySettings, isNear, siteVariant} from './steps.js';

const HARDER = 2;        // times the behaviour's own steering strength
const USUAL = 1;         // a whole steering vector
const hard = about => Math.max(USUAL, Math.round(10 * HARDER * about.gamma) / 10);
const direction = (one, other) => isNear(one, other) ? 'same' : one > other ? 'more' : 'fewer';
/** In long answers a small push changes some word, and then all that follow: the count tells no more. */
const isFull = column => column.changed === column.total;
const changed = (say, column) => say.say('ui.count', {count: say.number(column.changed), total: say.number(column.total)});

/** The step needs the steered column, whoever has unticked it. */
const withSteering = {enter: ({page}) => page.tick('steered', true), done: now => now.ticked('steered')};

export const cost = {
  key: 'cost',
  settings: facts => familySettings(facts, 'gated'),
  steps: [
    {key: 'claim', kind: 'claim'},
    {key: 'own', kind: 'predict', options: () => DIRECTIONS, values: ({about}) => ({prompt: about.prompt})},
    {key: 'steer', kind: 'act', target: '#steered', done: now => now.ticked('steered')},
    asking('ask', {...withSteering, note: now => ({original: now.columns[0], edited: now.columns[1], steered: now.columns[2]})}),
    {key: 'gain', kind: 'conclude', of: 'own', target: '#rolls',
      truth: ({notes, about}) => compared(notes.ask.steered, notes.ask.edited, about.measure),
      values: ({notes, said}) => ({original: said(notes.ask.original), edited: said(notes.ask.edited),
        steered: said(notes.ask.steered)})},
    {key: 'price', kind: 'predict', options: ({notes}) => everyCount(notes.ask.original.total),
      values: ({about, say}) => ({prompt: about.harmless, gamma: say.number(hard(about))})},
    {key: 'harder', kind: 'act', target: '#gamma', values: ({about, say}) => ({gamma: say.number(hard(about))}),
      done: (now, before, {about}) => now.gamma >= hard(about)},
    asking('ask_harmless', {enter: ({page, about}) => { page.tick('steered', true); page.ask(about.harmless); },
      done: (now, before, {about}) => now.ticked('steered') && now.prompt === about.harmless,
      note: now => ({edited: now.columns[1], steered: now.columns[2]})}),
    {key: 'spill', kind: 'conclude', of: 'price', target: '#rolls', right: (one, other) => isNear(+one, +other),
      truth: ({notes}) => String(notes.ask_harmless.steered.changed),
      variant: ({notes}) => isFull(notes.ask_harmless.edited) ? 'full' : '',
      values: ({notes, say}) => ({edited: changed(say, notes.ask_harmless.edited),
        steered: changed(say, notes.ask_harmless.steered)})},
    {key: 'baked', kind: 'predict', options: () => DIRECTIONS,
      values: ({notes, say}) => ({edited: changed(say, notes.ask_harmless.edited)})},
    {key: 'bake', kind: 'act', target: '#family', enter: ({page}) => page.openFold('advanced'),
      done: now => familyOf(now.settings) === 'baked'},
    asking('ask_baked', {note: now => ({edited: now.columns[1]})}),
    {key: 'written', kind: 'conclude', of: 'baked', target: '#rolls',
      truth: ({notes}) => direction(notes.ask_baked.edited.changed, notes.ask_harmless.edited.changed),
      variant: ({notes}) => isFull(notes.ask_harmless.edited) && isFull(notes.ask_baked.edited) ? 'full' : '',
      values: ({notes, say}) => ({gated: changed(say, notes.ask_harmless.edited),
        baked: changed(say, notes.ask_baked.edited), steered: changed(say, notes.ask_harmless.steered)})},
    {key: 'knows', kind: 'question', options: () => ['steering', 'baked', 'gate'], answer: () => 'gate'},
    {key: 'play', kind: 'play', target: '#prompt', variant: siteVariant},
  ],
};

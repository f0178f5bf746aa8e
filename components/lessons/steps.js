// What several lessons share: settings to begin with, what a count of answers comes to, when a step is done. A lesson is
// a list of steps {key, kind, target, done(now, before), ...}; player.js walks through it. Knows no element.

import {FAMILY_NAMES} from '../studio/settings.js';

/** Where a lesson about one family begins: its suggestion, else what stands for it on this model. */
export const familySettings = (facts, family) => {
  const offered = facts.suggestions.find(one => one.family === FAMILY_NAMES[family]);
  return offered?.settings || (family === 'elastic' ? {...facts.strongest_few, gate: null} : facts.suggested);
};

/** New answers of as many columns as are asked for, to the end. */
export const answered = (now, before) => now.complete && now.arrived > before.arrived && now.columns.length === 2
  + ['steered', 'prompted', 'placebo'].filter(now.ticked).length;
export const asking = (key, {done = () => true, ...more}) =>
  ({key, kind: 'act', target: '#ask-eight', done: (...all) => answered(...all) && done(...all), ...more});

export const NEAR = 1;                // answers, of all that were asked, that count as the same
const NEAR_LENGTH = 0.1;              // of the tokens
export const isNear = (one, other) => Math.abs(one - other) <= NEAR;

/** 'more', 'same' or 'fewer': of answers that show the behaviour, or of tokens where length is the behaviour. */
export const compared = (one, other, measure) => {
  const [a, b] = measure === 'length' ? [one.tokens, other.tokens] : [one.count, other.count];
  const room = measure === 'length' ? NEAR_LENGTH * Math.max(a, b) : NEAR;
  return Math.abs(a - b) <= room ? 'same' : a > b ? 'more' : 'fewer';
};
export const lengths = (one, other) => compared(one, other, 'length');
export const DIRECTIONS = ['more', 'same', 'fewer'];

export const everyCount = total => Array.from({length: total + 1}, (_, n) => String(n));
/** Options of a prediction of how many answers: every count, or a direction where length is the behaviour. */
export const counts = ({about}, total) =>
  about.measure === 'length' ? DIRECTIONS : everyCount(total);
/** What came out, as one of these options. */
export const countTruth = ({about}, column, reference) =>
  about.measure === 'length' ? compared(column, reference, 'length') : String(column.count);
export const countRight = (predicted, truth) => predicted === truth || (isNear(+predicted, +truth) && /\d/.test(truth));

/** For a last step, whose text names what the static site lacks. */
export const siteVariant = ({page}) => page.measures() ? '' : 'site';

/** Global numbers of a kind from the largest |g| down. */
export const ranked = (facts, kind) => {
  const all = facts.kinds[kind].sites.flatMap(site => Array.from({length: facts.sites[site].n}, (_, n) => facts.offset[site] + n));
  return all.sort((a, b) => Math.abs(facts.g[b]) - Math.abs(facts.g[a]) || a - b);
};

// What chance gives: for every component the |g| that 95 of 100 directions of chance stay below, and how many components pass
// a threshold along such a direction. s2e_core/why/chance.py computes it; until it is here, and where there is none, the
// band is that of random directions, 3 / sqrt(d), the same for all.

import {KINDS, doubles, floats} from './facts.js';

const ASK_AGAIN_MS = 400;

/** Three standard deviations of g for random directions: 3 / sqrt(d). */
export const randomLevel = facts => 3 / Math.sqrt(facts.d_model);

/** The band of one component, and whether it stands out of it. */
export const bandOf = (facts, i) => facts.chance ? facts.chance.band[i] : Math.fround(randomLevel(facts));
export const isBeyond = (facts, i) => Math.abs(facts.g[i]) > bandOf(facts, i);

/** Components of a kind beyond their bands. */
export const countBeyond = (facts, kind) => {
  let count = 0;
  for (const site of facts.kinds[kind].sites) for (let i = facts.offset[site], end = i + facts.sites[site].n; i < end; i++) if (isBeyond(facts, i)) count++;
  return count;
};

/** Mean number of components of a kind with |g| above a threshold along a direction of chance, in steps of 0.001. */
export const expectedFalse = ({counts}, kind, threshold) => {
  const last = counts[kind].length - 1;
  return counts[kind][Math.min(last, Math.max(0, Math.floor(threshold * last + 1e-9)))];
};

/** The server's answer, with how many stand out of their bands: {band, counts, beyond: {heads: {found, expected}}}. */
export const unpackChance = (facts, sent) => {
  const found = {band: floats(sent.band), counts: {}, beyond: {}, examples: sent.n_examples};
  for (const kind of KINDS) {
    found.counts[kind] = doubles(sent.counts[kind]);
    found.beyond[kind] = {found: countBeyond({...facts, chance: found}, kind), count: facts.kinds[kind].count, expected: sent.beyond[kind]};
  }
  return found;
};

/**
 * Asks for the chance of one extraction, the latest, until it is there. `told` hears of every answer: facts.chance is then
 * there, or facts.wait says how far it is, that it waits for a wish, or why there is none.
 */
export const chanceAsker = (ask, told) => {
  let turn = 0;
  return async (facts, place, begin = false) => {
    const mine = ++turn;
    for (;;) {
      let answer;
      try { answer = await ask({...place, begin}); } catch { answer = {none: ''}; }   // without a server the page goes on
      if (mine !== turn) return;
      if (answer.band) facts.chance = unpackChance(facts, answer);
      facts.wait = answer.band ? null : answer.error ? {none: answer.error} : answer;
      told();
      if (facts.wait?.total === undefined) return;
      await new Promise(next => setTimeout(next, ASK_AGAIN_MS));
      if (mine !== turn) return;
    }
  };
};

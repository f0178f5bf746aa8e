// The paper's edit, computed in the tab: the elastic net over all components at once, and what an edit amounts to.
// s2e_core/method/edit.py is the authority. Every step is rounded to float32 as torch rounds it, so that both edit the
// same components; tests/ui/studio/test_parity.py compares them. Gates are fitted on texts and asked of the server.

import {isBeyond} from './chance.js';
import {numberOf} from './facts.js';

const f = Math.fround;

export const rhoOf = (settings, kind) => kind === 'heads' ? settings.rho_attn : settings.rho_mlp;
export const hasNet = settings => settings.rho_attn !== null || settings.rho_mlp !== null;
export const needsTexts = settings => Boolean(settings.gate) || Boolean(settings.protect);
/** tau = rho * alpha, which |g| must exceed; null where the kind is off. */
export const threshold = (settings, kind) => rhoOf(settings, kind) === null ? null : rhoOf(settings, kind) * settings.alpha;

const marked = (facts, pairs) => {
  const mask = new Uint8Array(facts.n);
  for (const pair of pairs) mask[numberOf(facts, pair)] = 1;
  return mask;
};

/** lambda of every component, and whether the settings select it whatever its strength. */
export const elasticNet = (facts, settings) => {
  const lam = new Float32Array(facts.n), edited = new Uint8Array(facts.n), {alpha, strength} = settings;
  const only = settings.only && marked(facts, settings.only);
  const included = settings.included.length ? marked(facts, settings.included) : null;
  const [first, last] = settings.layers || [0, facts.n_layers - 1];
  facts.sites.forEach(({kind, layer, n}, site) => {
    const rho = rhoOf(settings, kind);
    if (rho === null) return;
    const tau = f(rho * alpha), gain = f(rho * (1 - alpha)), inside = first <= layer && layer <= last;
    for (let i = facts.offset[site], end = i + n; i < end; i++) {
      const g = facts.g[i], size = Math.abs(g), byHand = included !== null && included[i] === 1;
      if (!byHand && !(inside && size > tau && (only === null || only[i] === 1))) continue;
      edited[i] = 1;
      lam[i] = byHand ? g / gain : Math.sign(g) * f(size - tau) / gain;
    }
  });
  for (const pair of settings.excluded) { const i = numberOf(facts, pair); lam[i] = edited[i] = 0; }
  for (const [site, index, factor] of settings.strengths) lam[facts.offset[site] + index] *= factor;
  if (strength !== 1) for (let i = 0; i < lam.length; i++) lam[i] *= strength;
  return {lam, edited, change: changes(facts, lam)};
};

/** |dW_i| / |W_i|; the direction u and the keys k_i have length 1. */
export const changes = (facts, lam) => {
  const change = new Float32Array(lam.length);
  for (let i = 0; i < lam.length; i++) if (lam[i] !== 0 && facts.norms[i] > 0) change[i] = Math.abs(lam[i]) / facts.norms[i];
  return change;
};

/** The rho at which exactly the `count` strongest of a kind pass: half way between the last that does and the next. */
export const rhoForCount = (facts, kind, count, alpha) => {
  const {ranked} = facts.kinds[kind], at = Math.min(count, ranked.length);
  const value = place => place === 0 ? 1 : place > ranked.length ? 0 : ranked[place - 1];
  return Math.max((value(at) + value(at + 1)) / 2, 1e-6) / alpha;
};

/** Components of a kind whose |g| is above the threshold, whatever was chosen by hand. */
export const countAbove = (facts, settings, kind) => {
  const tau = threshold(settings, kind), {ranked} = facts.kinds[kind];
  if (tau === null) return 0;
  let low = 0, high = ranked.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranked[middle] > f(tau)) low = middle + 1; else high = middle;
  }
  return low;
};

/** Counts and relative sizes of an edit, as `summarize` of the core, and how many components stand out of their bands. */
export const summarize = (facts, {lam, change}) => {
  const found = {heads: 0, neurons: 0, layers: 0, relativeSize: 0, largestChange: 0, edited: 0, beyond: 0};
  const layers = new Set();
  let squares = 0;
  facts.sites.forEach(({kind, layer, n}, site) => {
    for (let i = facts.offset[site], end = i + n; i < end; i++) {
      if (lam[i] === 0) continue;
      found[kind]++;
      layers.add(layer);
      squares += lam[i] * lam[i];
      if (isBeyond(facts, i)) found.beyond++;
      if (change[i] > found.largestChange) found.largestChange = change[i];
    }
  });
  found.layers = layers.size;
  found.edited = found.heads + found.neurons;
  found.relativeSize = facts.weight ? Math.sqrt(squares / facts.weight) : 0;
  return found;
};

/** 0 where nothing was chosen by hand, 1 where a component was included, 2 where it was excluded. */
export const byHand = (facts, settings) => {
  const hand = new Uint8Array(facts.n);
  for (const pair of settings.included) hand[numberOf(facts, pair)] = 1;
  for (const pair of settings.excluded) hand[numberOf(facts, pair)] = 2;
  return hand;
};

// From settings to what the model adds: the right vector a of every site, beside the unit directions u that all edits of an
// extraction share. Knows the facts and the formulas of the studio, and the directions and keys that a model needs besides.

import {KINDS, floats} from '../studio/facts.js';
import {mersenneTwister} from './noise.js';

/** A variant that changes nothing: {edits: [{left, right}], offset}; see llama.js. `turn` beside them is another one than the model's. */
export const ORIGINAL = {edits: [], offset: null};

/** The vectors of an extraction, decoded: `at` says where the inputs of a site begin. */
export const decodeVectors = (facts, sent) => {
  const at = [];
  let inputs = 0;
  facts.sites.forEach(({n}, site) => { at.push(inputs); inputs += n * sent.widths[site]; });
  const gates = sent.gates && {...sent.gates, ...Object.fromEntries(['keys', 'on', 'off'].map(name => [name, floats(sent.gates[name])]))};
  return {...sent, at, inputs, unit: floats(sent.unit), norm: floats(sent.norm), keys: floats(sent.keys), gates};
};

/** Calls `each(component, first input, width)` for every component in the order of the facts. */
export const eachComponent = (facts, {at, widths}, each) => facts.sites.forEach(({n}, site) => {
  for (let i = 0; i < n; i++) each(facts.offset[site] + i, at[site] + i * widths[site], widths[site]);
});

/** a of the elastic net: all lambda_i k_i side by side. */
export const netRight = (facts, vectors, lam) => {
  const right = new Float32Array(vectors.inputs);
  eachComponent(facts, vectors, (i, first, width) => {
    if (lam[i] !== 0) for (let k = first; k < first + width; k++) right[k] = lam[i] * vectors.keys[k];
  });
  return right;
};

/** The model with right vectors on top of each other: [{vectors, right}], each with the directions of its extraction. */
export const edited = rights => ({edits: rights.map(({vectors, right}) => ({left: vectors.unit, right})), offset: null});

/** Activation steering: gamma v at every projection. */
export const steered = ({unit, norm}, gamma) => {
  const width = unit.length / norm.length;
  return {edits: [], offset: unit.map((value, i) => gamma * norm[Math.floor(i / width)] * value)};
};

/** The numbers from 0 to n - 1 in the order of torch.randperm, from the next random bits of a generator. */
const permutation = (n, bits) => {
  const order = Array.from({length: n}, (_, i) => i);
  for (let i = 0; i < n - 1; i++) {
    const other = i + bits() % (n - i);
    [order[i], order[other]] = [order[other], order[i]];
  }
  return order;
};

/** lambda of as many random components of each kind, with the same strengths: placebo() of s2e_core/measure/race.py. */
export const placebo = (facts, lam, seed) => {
  const bits = mersenneTwister(seed), found = new Float32Array(lam.length);
  for (const kind of KINDS) {
    const all = facts.kinds[kind].sites.flatMap(site => Array.from({length: facts.sites[site].n}, (_, n) => facts.offset[site] + n));
    permutation(all.length, bits).forEach((from, to) => { found[all[to]] = lam[all[from]]; });
  }
  return found;
};

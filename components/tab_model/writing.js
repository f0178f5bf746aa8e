// Answers token by token: rows of one prompt, each with a variant and a random seed, greedy or sampled as the server does.

import {gumbel} from './noise.js';

const PART_MS = 12;   // after so long, whoever waits has a turn

/** Lets messages arrive that are on their way, without the delay of a timer. */
const breathe = () => new Promise(next => {
  const {port1, port2} = new MessageChannel();
  port1.onmessage = () => { port1.close(); next(); };
  port2.postMessage(null);
});

const largest = (logits, from, size, temperature, noise) => {
  let best = 0, most = -Infinity;
  for (let i = 0; i < size; i++) {
    const value = noise ? logits[from + i] / temperature + noise[i] : logits[from + i];
    if (value > most) { most = value; best = i; }
  }
  return best;
};

/**
 * Writes the answers to one prompt: `rows` are {variant, seed}, with an index into `variants`; `report` is told the rows'
 * token ids after each part; `isStopped` ends the run. Resolves with the ids of every row, up to its end of text.
 */
export const write = async (model, {ids, variants, rows, ends, length, temperature}, isStopped, report = () => {}) => {
  const {forward, vocabulary} = model, first = await read(model, ids, variants, ids.length + length);
  const active = rows.map(({variant, seed}) => {
    const cache = model.copyCache(first.caches[variant], ids.length);
    return {variant: variants[variant], seed, cache, at: ids.length, written: [], ended: false};
  });
  const noises = new Map(temperature > 0 ? active.map(({seed}) => [seed, {draw: gumbel(seed), values: new Float64Array(vocabulary)}]) : []);
  let began = performance.now();
  const take = (row, logits, from) => {
    const token = largest(logits, from, vocabulary, temperature, noises.get(row.seed)?.values);
    if (ends.includes(token)) row.ended = true; else row.written.push(token);
    row.token = token;
  };
  for (let step = 0, going = active; step < length && going.length && !isStopped(); step++) {
    for (const seed of new Set(going.map(row => row.seed))) { const noise = noises.get(seed); noise?.draw(noise.values); }
    if (step === 0) active.forEach((row, r) => take(row, first.logits, rows[r].variant * vocabulary));
    else {
      const logits = forward(going);
      going.forEach((row, r) => { row.at++; take(row, logits, r * vocabulary); });
    }
    going = going.filter(row => !row.ended);
    if (performance.now() - began > PART_MS) {
      report(active.map(row => row.written));
      await breathe();
      began = performance.now();
    }
  }
  return active.map(row => row.written);
};

/** The prompt under every variant: its cache, and the logits of the first token. */
const read = async ({forward, newCache, vocabulary}, ids, variants, tokens) => {
  const caches = variants.map(() => newCache(tokens)), logits = new Float64Array(variants.length * vocabulary);
  for (const [i, variant] of variants.entries()) {
    const lanes = ids.map((token, at) => ({token, at, cache: caches[i], variant}));
    logits.set(forward(lanes, lane => lane.at === ids.length - 1), i * vocabulary);
    await breathe();
  }
  return {caches, logits};
};

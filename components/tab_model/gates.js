// Baked and gated steering, solved in the tab: gate.py and gate_fit.py of the core are the authority. What they are fitted
// on comes as second moments of the inputs, whose rounding to float32 is far below the ridge of the fit.

import {elasticNet} from '../studio/method.js';
import {numberOf} from '../studio/facts.js';
import {eachComponent, netRight} from './edits.js';

const RIDGE = 1e-3;

/** The moments of a file by site: {on, off}, each the upper triangle of E[x x'], row by row. */
export const decodeMoments = (facts, {widths}, buffer) => {
  let at = 0;
  const next = count => { at += count; return new Float32Array(buffer, (at - count) * 4, count); };
  return facts.sites.map(({n}, site) => {
    const inputs = n * widths[site], size = inputs * (inputs + 1) / 2;
    return {inputs, on: next(size), off: next(size)};
  });
};

/** (M + ridge I) c = m by Cholesky; `matrix` (n, n) is overwritten. 0 where all inputs are zero. */
export const solveRidge = (matrix, targets) => {
  const n = targets.length;
  let trace = 0;
  for (let i = 0; i < n; i++) trace += matrix[i * n + i];
  if (!(trace > 0)) return new Float64Array(n);
  for (let i = 0; i < n; i++) matrix[i * n + i] += RIDGE * trace / n;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * n + j];
      for (let k = 0; k < j; k++) sum -= matrix[i * n + k] * matrix[j * n + k];
      matrix[i * n + j] = i === j ? Math.sqrt(sum) : sum / matrix[j * n + j];
    }
  }
  const c = Float64Array.from(targets);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) c[i] -= matrix[i * n + k] * c[k];
    c[i] /= matrix[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) c[i] -= matrix[k * n + i] * c[k];
    c[i] /= matrix[i * n + i];
  }
  return c;
};

/** c of one site on the inputs `columns`, which ascend: zero elsewhere. */
const solveSite = ({inputs, on, off}, mean, mu, columns) => {
  const n = columns.length, matrix = new Float64Array(n * n), c = new Float64Array(inputs);
  columns.forEach((column, i) => {
    for (let j = 0; j <= i; j++) {   // the triangle's row is the smaller number
      const row = columns[j], at = row * inputs - row * (row - 1) / 2 + column - row;
      matrix[i * n + j] = on[at] + mu * off[at];
    }
  });
  const solution = solveRidge(matrix, columns.map(column => mean[column]));
  columns.forEach((column, i) => { c[column] = solution[i]; });
  return c;
};

/** c of every site on the components of `mask`: (inputs,). A gate over a whole site may be solved already. */
const solveGate = (facts, vectors, moments, mu, mask) => {
  const {gates, at, widths} = vectors, solved = gates.mus.indexOf(mu), c = new Float32Array(vectors.inputs);
  facts.sites.forEach(({n}, site) => {
    const inputs = n * widths[site], columns = [];
    for (let i = 0; i < inputs; i++) if (mask[facts.offset[site] + Math.floor(i / widths[site])]) columns.push(i);
    if (!columns.length) return;
    const whole = columns.length === inputs && solved >= 0, first = gates.mus.length * at[site] + solved * inputs;
    c.set(whole ? gates.keys.subarray(first, first + inputs)
      : solveSite(moments[site], gates.on.subarray(at[site], at[site] + inputs), mu, columns), at[site]);
  });
  return c;
};

const siteNorms = (facts, {norm, widths, at, inputs}) => {
  const each = new Float32Array(inputs);
  facts.sites.forEach(({n}, site) => each.fill(norm[site], at[site], at[site] + n * widths[site]));
  return each;
};

const sums = (facts, vectors, right, mean) => {
  const found = new Float32Array(facts.n);
  eachComponent(facts, vectors, (i, first, width) => {
    let sum = 0;
    for (let k = first; k < first + width; k++) sum += right[k] * mean[k];
    found[i] = sum;
  });
  return found;
};

/** Within `layers` and `only`. */
const allowed = (facts, {only, layers}) => {
  const mask = new Uint8Array(facts.n), [first, last] = layers || [0, facts.n_layers - 1];
  const inside = site => first <= facts.sites[site].layer && facts.sites[site].layer <= last;
  if (only) { for (const pair of only) if (inside(pair[0])) mask[numberOf(facts, pair)] = 1; return mask; }
  facts.sites.forEach(({n}, site) => mask.fill(inside(site) ? 1 : 0, facts.offset[site], facts.offset[site] + n));
  return mask;
};

/** The components of a gate before anything is added or left out by hand: those that carry most of it. */
const ruledMask = (facts, vectors, moments, norms, settings) => {
  const mask = allowed(facts, settings), {size, mu} = settings.gate;
  if (size === null || size >= mask.reduce((sum, one) => sum + one, 0)) return mask;
  const c = solveGate(facts, vectors, moments, mu, mask).map((value, i) => value * norms[i]);
  const carried = sums(facts, vectors, c, vectors.gates.on).map((value, i) => mask[i] ? Math.abs(value) : -1);
  const chosen = new Uint8Array(facts.n), order = Array.from(carried.keys()).sort((a, b) => carried[b] - carried[a]);
  for (const i of order.slice(0, size)) chosen[i] = 1;
  return chosen;
};

/** Adds gamma |v| c to the right vector; returns the gate's components with what was changed by hand and without. */
const addGate = (facts, vectors, moments, settings, right) => {
  const norms = siteNorms(facts, vectors), {gamma, mu} = settings.gate;
  const rule = ruledMask(facts, vectors, moments, norms, settings), gate = rule.slice();
  for (const pair of settings.included) gate[numberOf(facts, pair)] = 1;
  for (const pair of settings.excluded) gate[numberOf(facts, pair)] = 0;
  const c = solveGate(facts, vectors, moments, mu, gate), factors = new Float32Array(facts.n).fill(settings.strength);
  for (const [site, index, factor] of settings.strengths) factors[facts.offset[site] + index] *= factor;
  eachComponent(facts, vectors, (i, first, width) => {
    for (let k = first; k < first + width; k++) right[k] += factors[i] * gamma * norms[k] * c[k];
  });
  return {gate, rule};
};

/** The edit of any settings as the studio draws it, with the right vector that the model needs. A gate needs moments. */
export const fittedEdit = (facts, vectors, moments, settings) => {
  const net = elasticNet(facts, settings), right = netRight(facts, vectors, net.lam);
  const bare = elasticNet(facts, {...settings, included: [], excluded: []}).edited;
  const both = (one, other) => one.map((value, i) => value || other[i]);
  const {gate, rule} = settings.gate ? addGate(facts, vectors, moments, settings, right) : {gate: net.edited, rule: bare};
  return {right, edited: both(net.edited, gate), ruled: both(bare, rule), ...figures(facts, vectors, right)};
};

/** lambda, relative change and firing of every component of a right vector. */
const figures = (facts, vectors, right) => {
  const lam = new Float32Array(facts.n), change = new Float32Array(facts.n), {gates, keys} = vectors;
  eachComponent(facts, vectors, (i, first, width) => {
    let squares = 0, along = 0;
    for (let k = first; k < first + width; k++) { squares += right[k] * right[k]; along += right[k] * keys[k]; }
    lam[i] = (along < 0 ? -1 : 1) * Math.sqrt(squares);
    change[i] = facts.norms[i] > 0 ? Math.sqrt(squares) / facts.norms[i] : 0;
  });
  return {lam, change, on: sums(facts, vectors, right, gates.on), off: sums(facts, vectors, right, gates.off), harmless: gates.harmless, settings: null};
};

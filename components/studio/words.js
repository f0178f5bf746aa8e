// Figures in words: the summary of an edit, its rule, and why one component is or is not edited. Knows the values of the
// studio; every function returns plain text or figures, and no element.

import {bandOf, expectedFalse, isBeyond, randomLevel} from './chance.js';
import {kindOf, nameOf, pairOf, layerOf} from './facts.js';
import {countAbove, hasNet, needsTexts, rhoOf, summarize, threshold} from './method.js';
import {presetOf} from './settings.js';
import {counted, percent, roughly, signed} from './dom.js';

const LARGE_EDIT = 0.1;     // |dW| / |W| over the whole model from which an edit usually costs fluency
const LARGE_CHANGE = 1;     // |dW_i| / |W_i| from which a component is more edit than weight

/** Four figures: {number, label, told}. */
export const figures = (facts, edit, file) => {
  const found = summarize(facts, edit);
  const cells = [
    {number: counted(found.heads), label: `of ${counted(facts.kinds.heads.count)} heads`},
    {number: counted(found.neurons), label: `of ${counted(facts.kinds.neurons.count)} neurons`},
    {number: percent(found.relativeSize, 1), label: 'of the weights’ size', told: '|ΔW| / |W| of all heads and neurons together.'},
  ];
  if (!file || file.here) cells.push({number: `${counted(found.beyond)} / ${counted(found.edited)}`, ...facts.chance
    ? {label: 'exceed their band of chance', told: 'Edited components with a larger |g| than 95 of 100 directions of chance give them: directions in which the examples differ anyway.'}
    : {label: `exceed random directions, |g| > ${randomLevel(facts).toFixed(2)}`, told: 'Edited components with a larger |g| than random directions would give: three standard deviations.'}});
  return cells;
};

/** Of those selected, how many would be by chance alone; or how far the reading of chance is, or why there is none. */
export const chanceWords = (facts, settings, edit, file) => {
  if (!facts.chance) {
    const {done, total, waits, none} = facts.wait || {};
    return waits || none || (total ? `Reading what chance gives: ${percent(done / total)} …` : total === 0 ? 'Reading what chance gives …' : '');
  }
  if (file || !hasNet(settings)) return '';
  const on = ['heads', 'neurons'].filter(kind => threshold(settings, kind) !== null);
  const above = on.reduce((sum, kind) => sum + countAbove(facts, settings, kind), 0);
  const expected = roughly(on.reduce((sum, kind) => sum + expectedFalse(facts.chance, kind, threshold(settings, kind)), 0));
  const selected = edit.edited.reduce((sum, one) => sum + one, 0);
  const byRule = !settings.gate && !settings.only && !settings.layers && !settings.included.length && !settings.excluded.length;
  return byRule && selected === above ? `${counted(selected)} selected; about ${expected} would be by chance.`
    : `${counted(selected)} selected; ${counted(above)} lie above the threshold, and by chance about ${expected} would.`;
};

/** {level, sentence}: what a person should know about this edit before anything else. */
export const verdict = (facts, settings, edit, file) => {
  const found = summarize(facts, edit), preset = file ? null : presetOf(facts, settings);
  const origin = file ? `The finished edit you uploaded (${file.name}); move a dial to return to your own. ` : '';
  if (!found.edited) {
    return {level: 'note', sentence: `${origin}Nothing is edited: the edited model is the original.${file ? '' : ` ${wayOut(settings)}`}`};
  }
  const layers = `In ${found.layers} of ${facts.n_layers} layers.`, told = preset?.told ? ` ${preset.told}` : '';
  if (settings.gate) return {level: 'calm', sentence: `${origin}${layers}${told}`};
  const strongest = `the strongest component changes by ${found.largestChange.toFixed(1)} times its own weight`;
  if (!told && (found.relativeSize > LARGE_EDIT || found.largestChange > LARGE_CHANGE)) {
    if (preset?.kind === 'start') return {level: 'note', sentence:
      `${origin}A large edit, and chosen so for this behaviour: ${strongest}. What it costs, “Measure this edit in full” says, further down.`};
    const remedy = !file || file.here ? ': lower the strength or edit fewer components' : '';
    return {level: 'warning', sentence: `${origin}A large edit: ${strongest}. That often costs fluency${remedy}.`};
  }
  return {level: 'calm', sentence: `${origin}${layers} The strongest component changes by ${percent(found.largestChange)} of its weight.${told}`};
};

const wayOut = settings => {
  if (settings.strength === 0) return 'Raise the strength.';
  if (settings.only) return 'Click a head or a neuron, move a count, or take all above the threshold.';
  return settings.gate ? 'Press All above threshold.' : 'Raise a count or lower ρ.';
};

/** What the settings of an edit do, in a few sentences. */
export const rule = (settings, harmless) => {
  const said = [];
  if (hasNet(settings) || !settings.gate) {
    const kinds = ['heads', 'neurons'].map(kind => `${kind} ${kindRule(settings, kind)}`).join('; ');
    said.push(`λ = strength · sign(g) · (|g| − ρα) / ρ(1−α), where |g| is above ρα: ${kinds}${needsTexts(settings) ? '.' : ''}`);
  }
  if (settings.gate) said.push(gateRule(settings.gate, settings.strength, harmless));
  if (settings.protect) said.push(`Silent on the ${settings.protect} strongest input directions of harmless texts (${harmless}).`);
  return said.join(' ');
};
const kindRule = (settings, kind) => {
  const rho = rhoOf(settings, kind);
  return rho === null ? 'off'
    : `|g| > ${threshold(settings, kind).toFixed(3)}, gain ${(1 / (rho * (1 - settings.alpha))).toFixed(2)}`;
};
const gateRule = (gate, strength, harmless) => {
  const amount = `${(gate.gamma * strength).toFixed(2)} times the steering vector`;
  return gate.mu ? `Gate: the weights add ${amount} where a text is about the behaviour, and little on harmless texts, here ${harmless} (μ = ${gate.mu}).`
    : `Baked steering: the weights add ${amount} at every token.`;
};

/** "Head 3 of layer 5". */
export const title = (facts, i) => {
  const name = nameOf(facts, i);
  return `${name[0].toUpperCase()}${name.slice(1)} of layer ${layerOf(facts, i)}`;
};

const has = (pairs, [site, index]) => pairs.some(pair => pair[0] === site && pair[1] === index);

/** Why a component is or is not edited. */
export const reason = (facts, settings, edit, file, i) => {
  const pair = pairOf(facts, i), tau = threshold(settings, kindOf(facts, i));
  if (file) return 'The uploaded edit decides about it.';
  if (has(settings.excluded, pair)) return 'Left out by hand.';
  if (settings.gate) return gateReason(settings, edit, pair, i);
  if (tau === null) return 'Components of its kind are switched off.';
  if (has(settings.included, pair)) return `Added by hand, below the threshold ${tau.toFixed(3)}.`;
  if (edit.edited[i]) return `Edited: |g| is above the threshold ${tau.toFixed(3)}.`;
  if (Math.abs(facts.g[i]) > Math.fround(tau)) return `Above the threshold ${tau.toFixed(3)}, but outside the selection.`;
  return `Not edited: |g| is not above the threshold ${tau.toFixed(3)}.`;
};
const gateReason = (settings, edit, pair, i) => {
  if (has(settings.included, pair)) return 'Added to the gate by hand.';
  if (edit.edited[i]) return hasNet(settings) ? 'Edited.' : 'Edited: part of the gate.';
  return settings.gate.size === null ? 'Outside the selection.'
    : `Not edited: not among the ${counted(settings.gate.size)} components that carry most of the gate, or outside the selection.`;
};

/** The figures of one component: [name, value, what it means]. */
export const cardRows = (facts, edit, file, i) => {
  const g = facts.g[i], lam = edit.lam[i] + 0, sds = Math.abs(g) * Math.sqrt(facts.d_model);
  const luck = facts.chance ? `${isBeyond(facts, i) ? 'beyond' : 'within'} its band of chance, ±${bandOf(facts, i).toFixed(3)}`
    : `${sds.toFixed(1)} standard deviations of random directions`;
  const side = g > 0 ? 'for' : 'against';
  const effect = lam === 0 ? 'not edited' : lam > 0 ? 'amplifies a helper' : 'weakens an opponent';
  const rows = [
    ['g', signed(g, 3), `works ${side} the behaviour; ${luck}`],
    ['λ', signed(lam, 3), effect + (file && lam ? ' of the edit’s own direction' : '')],
    ['|ΔW| / |W|', percent(edit.change[i], 1), 'size of the change beside the weight'],
    ['mean contribution', signed(facts.contributions[i], 4), 'written along the direction per token'],
  ];
  if (edit.on) rows.push(['when', `${signed(edit.on[i], 4)} / ${signed(edit.off[i], 4)}`, 'added per token on the behaviour’s texts / on harmless ones']);
  return rows;
};

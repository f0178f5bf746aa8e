// What the dials and the hand do: (facts, settings, input) to settings, as pure functions of plain values. The plain
// dials (how many, how strong) and the paper's (rho, alpha) are two views of the same settings. Knows no page.

import {kindOf, numberOf, pairOf} from './facts.js';
import {hasNet, rhoForCount, rhoOf} from './method.js';

const DEFAULT_COUNT = 10;   // of a kind that is switched on and has no rho to go back to
const USUAL_ALPHA = 0.05;
export const DEFAULT_GATE = {gamma: 1.5, mu: 10, size: 100};
export const SIZE_STEPS = 1000;   // the dial of a gate's size ends here, and its end stands for all components
export const LEAST_SIZE = 10;
export const FAMILY_NAMES = {elastic: 'elastic net', baked: 'baked steering', gated: 'gated steering'};

const RHO = {heads: 'rho_attn', neurons: 'rho_mlp'};
const withRho = (settings, kind, rho) => ({...settings, [RHO[kind]]: rho});
const sorted = pairs => [...pairs].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
const key = ([site, index]) => `${site} ${index}`;

/** Whether two settings are the same edit. */
export const same = (one, other) => canonical(one) === canonical(other);
export const canonical = s => JSON.stringify([
  s.rho_attn, s.rho_mlp, s.alpha, s.strength, s.strengths, s.only, s.included, s.excluded, s.layers, s.gate || null,
  s.protect || 0,
]);

// ---- the dials of the elastic net ------------------------------------------------------------------------------------

/** Also ends a restriction to hand-picked components: a dial that moves must show an effect. */
export const setRho = (settings, kind, rho) => ({...withRho(settings, kind, rho), only: null});

/** At alpha = 0 there is no threshold, and every component of a kind passes. */
const withThreshold = settings => settings.alpha > 0 ? settings : {...settings, alpha: USUAL_ALPHA};

/** Exactly the `count` strongest of a kind pass; 0 switches the kind off. */
export const setCount = (facts, settings, kind, count) => {
  if (count < 1) return setRho(settings, kind, null);
  const next = withThreshold(settings);
  return setRho(next, kind, rhoForCount(facts, kind, Math.floor(count), next.alpha));
};

const usualRho = (facts, settings, kind) =>
  rhoOf(facts.suggested, kind) ?? rhoForCount(facts, kind, DEFAULT_COUNT, Math.max(settings.alpha, USUAL_ALPHA));

/** Switch all heads or all neurons on or off; on returns to the suggested rho. */
export const setKind = (facts, settings, kind, on) =>
  on === (rhoOf(settings, kind) !== null) ? settings : setRho(settings, kind, on ? usualRho(facts, settings, kind) : null);

/** Edit heads alone or neurons alone. */
export const onlyKind = (facts, settings, kind) => {
  const other = kind === 'heads' ? 'neurons' : 'heads';
  let next = {...settings, only: null};
  if (hasNet(settings) || !settings.gate) {
    next = withRho(next, kind, rhoOf(settings, kind) ?? usualRho(facts, settings, kind));
    next = withRho(next, other, null);
  }
  return settings.gate ? gateOfKind(facts, next, kind) : next;
};

/** A gate has no rho that switches a kind off: named are the heads, which are few. */
const gateOfKind = (facts, settings, kind) => {
  const heads = facts.kinds.heads.sites.flatMap(site => Array.from({length: facts.sites[site].n}, (_, i) => [site, i]));
  const isHead = ([site]) => facts.sites[site].kind === 'heads';
  if (kind === 'heads') return {...settings, only: heads, included: settings.included.filter(isHead), excluded: []};
  const rest = settings.excluded.filter(pair => !isHead(pair));
  return {...settings, included: settings.included.filter(pair => !isHead(pair)), excluded: sorted([...heads, ...rest])};
};

export const ofComponent = (settings, pair) => settings.strengths.find(entry => key(entry) === key(pair))?.[2] ?? 1;

/** A further multiplier of one component; 1 needs no entry. */
export const setOfComponent = (settings, pair, factor) => {
  const others = settings.strengths.filter(entry => key(entry) !== key(pair));
  return {...settings, strengths: factor === 1 ? others : sorted([...others, [...pair, factor]])};
};

// ---- the hand ----------------------------------------------------------------------------------------------------------

/** Kinds that were off come on at a threshold that none passes, so that a click edits what was clicked alone. */
const withKindsOn = (facts, settings, numbers) => {
  if (settings.gate) return settings;   // a gate takes what is included whatever the kind
  let next = settings;
  for (const kind of new Set(numbers.map(i => kindOf(facts, i)))) {
    if (rhoOf(next, kind) !== null) continue;
    next = withThreshold(next);
    next = withRho(next, kind, rhoForCount(facts, kind, 0, next.alpha));
  }
  return next;
};

/** Include or exclude components; what the rule says of them anyway needs no entry. `mask` tells what settings select. */
export const switchOn = (facts, settings, numbers, on, mask) => {
  const base = on ? withKindsOn(facts, settings, numbers) : settings, mine = new Set(numbers);
  const others = pairs => pairs.filter(pair => !mine.has(numberOf(facts, pair)));
  const bare = {...base, included: others(base.included), excluded: others(base.excluded)};
  const now = mask(bare), exceptions = numbers.filter(i => Boolean(now[i]) !== on).map(i => pairOf(facts, i));
  return on ? {...bare, included: sorted([...bare.included, ...exceptions])}
    : {...bare, excluded: sorted([...bare.excluded, ...exceptions])};
};

/** Edit one component and nothing else. */
export const keepOnly = (facts, settings, i) =>
  ({...withKindsOn(facts, settings, [i]), only: [], included: [pairOf(facts, i)], excluded: [], layers: null});

/** Everything above the threshold, nothing by hand, all layers. */
export const selectRule = settings => ({...settings, only: null, included: [], excluded: [], layers: null});
export const selectNone = settings => ({...selectRule(settings), only: []});

/** Restrict the components above the threshold to a range of layers, given in either order. */
export const setLayers = (facts, settings, one, other) => {
  const [first, last] = [one, other].sort((a, b) => a - b), all = first <= 0 && last >= facts.n_layers - 1;
  return {...settings, layers: all ? null : [first, last]};
};

// ---- families ----------------------------------------------------------------------------------------------------------

export const familyOf = settings => !settings.gate ? 'elastic' : hasNet(settings) ? 'sum' : settings.gate.mu ? 'gated' : 'baked';

const suggestion = (facts, family) => facts.suggestions.find(each => each.family === FAMILY_NAMES[family]);

/** Another family: its suggested settings, or its dials as they were last. `past` are earlier settings, latest first. */
export const setFamily = (facts, settings, family, past) => {
  if (family === familyOf(settings)) return settings;
  const known = [settings, ...past], offered = suggestion(facts, family);
  if (offered && known.every(one => familyOf(one) !== family)) return offered.settings;
  const starts = [facts.suggested, suggestion(facts, 'elastic')?.settings, facts.strongest_few];
  const net = [...known, ...starts].find(one => one && hasNet(one));
  const plain = family === 'baked' || family === 'gated' ? {rho_attn: null, rho_mlp: null, strength: 1} : {};
  const {rho_attn, rho_mlp, alpha, strength} = {...net, ...plain};
  return {
    ...settings, rho_attn, rho_mlp, alpha, strength, gate: latestGate(facts, family, known),
    protect: family === 'elastic' ? 0 : settings.protect || 0,
  };
};

const latestGate = (facts, family, known) => {
  if (family === 'elastic') return null;
  const baked = family === 'baked', gates = known.map(one => one.gate).filter(Boolean);
  const offered = suggestion(facts, baked ? 'baked' : 'gated')?.settings.gate;
  return gates.find(gate => (gate.mu === 0) === baked) || offered || {...(gates[0] || DEFAULT_GATE), mu: baked ? 0 : DEFAULT_GATE.mu};
};

/** End of the dial of a gate's size, which stands for all components. */
export const mostSize = (facts, settings) =>
  facts.n > LEAST_SIZE ? Math.min(facts.n, Math.max(SIZE_STEPS, 2 * (settings.gate?.size || 0))) : LEAST_SIZE + 1;

/** Also ends a restriction to hand-picked components, as a count does. */
export const setSize = (facts, settings, size) => ({
  ...settings, only: null, gate: {...settings.gate, size: size >= mostSize(facts, settings) ? null : Math.round(size)},
});

/** The strictness that is solved in advance, and the one of the settings; 0 is a family of its own without a net. */
export const muChoices = (facts, settings) => {
  const known = hasNet(settings) ? facts.mus : facts.mus.filter(mu => mu > 0);
  return [...new Set([...known, (settings.gate || DEFAULT_GATE).mu])].sort((a, b) => a - b);
};

// ---- presets -------------------------------------------------------------------------------------------------------------

/** The preset that settings are; undefined where they were changed. */
export const presetOf = (facts, settings) => facts.presets.find(preset => same(preset.settings, settings));

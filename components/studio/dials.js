// The dials and the choices of the edit, drawn from the settings and telling `change` what a person did. Holds no
// settings: after every change `show` sets each control to what is true, but for the one that is being moved.

import {make} from './dom.js';
import {countAbove, hasNet, rhoOf} from './method.js';
import {
  DEFAULT_GATE, LEAST_SIZE, familyOf, mostSize, muChoices, presetOf, setCount, setFamily, setKind, setRho, setSize,
} from './settings.js';

const COUNT_STEPS = 1000;   // a slider ends here where a model has more components, and grows with the count that is typed
const FAMILIES = [
  ['elastic', 'Elastic net (paper)'], ['baked', 'Baked steering'], ['gated', 'Gated steering'], ['sum', 'Elastic net + gated steering'],
];
const BY_HAND = 'Changed by hand';

/** A slider with its number: {node, set({value, max, typed, min, shown})}; a number up to `typed` can be typed. `moved` is told every move. */
const dial = ({id, label, help, told, min, max, step}, moved) => {
  const range = make('input', {type: 'range', min, max, step, 'aria-label': label});
  const number = make('input', {type: 'number', min, max, step, 'aria-label': `${label}, as a number`, inputMode: 'decimal'});
  const node = make('div', {id, className: 'dial', title: told || ''},
    make('div', {className: 'head'}, make('label', {}, make('span', {textContent: label}), make('small', {className: 'info-text', textContent: help})), number),
    range);
  const fill = () => range.style.setProperty('--filled', `${100 * (range.value - range.min) / (range.max - range.min || 1)}%`);
  const send = (source, text) => {
    const value = Math.min(+number.max, Math.max(+number.min, +text));
    if (text === '' || Number.isNaN(value)) return;
    if (source === number) range.value = value; else number.value = value;
    fill();
    moved(value);
  };
  range.addEventListener('input', () => send(range, range.value));
  number.addEventListener('input', () => send(number, number.value));
  const set = ({value, max: most, typed = most, min: least, shown = true, said = help}) => {
    node.hidden = !shown;
    node.querySelector('.info-text').textContent = said;
    if (most !== undefined) { range.max = most; number.max = typed; }
    if (least !== undefined) range.min = number.min = least;
    if (value === undefined) return;
    const rounded = +(+value).toFixed(4);
    if (document.activeElement !== range) range.value = rounded;
    if (document.activeElement !== number) number.value = rounded;
    fill();
  };
  number.addEventListener('blur', () => node.dispatchEvent(new Event('rested', {bubbles: true})));
  return {node, set};
};

const choice = (id, label, chosen) => {
  const select = make('select', {'aria-label': label, onchange: () => chosen(select.value)});
  const node = make('div', {id, className: 'choice'}, make('label', {}, make('span', {textContent: label}), select));
  const set = (options, value) => {
    const known = [...select.options].map(option => [option.value, option.textContent]);
    if (JSON.stringify(known) !== JSON.stringify(options)) {
      select.replaceChildren(...options.map(([name, text]) => make('option', {value: name, textContent: text})));
    }
    select.value = value;
  };
  return {node, set};
};

const box = (id, label, switched) => {
  const input = make('input', {type: 'checkbox', onchange: () => switched(input.checked)});
  return {node: make('label', {id, className: 'box'}, input, make('span', {textContent: label})), set: on => { input.checked = on; }};
};

/** Builds the dials into `root`. `change(step, dial)`: step is settings => settings; `context()` is what the studio knows. */
export const dials = (root, {told, context, change, act}) => {
  const turn = (name, step) => value => change(settings => step(settings, value), name);
  const facts = () => context().facts;
  const make_ = (id, label, help, min, max, step, set) => dial({id, label, help, told: told[id], min, max, step}, turn(id, set));
  const gate = name => (settings, value) => ({...settings, gate: {...settings.gate, [name]: value}});
  const all = {
    strength: make_('strength', 'Strength', '0: the original', 0, 3, 0.05, (s, value) => ({...s, strength: value})),
    heads: make_('heads-count', 'Heads', 'strongest first', 0, 48, 1, (s, n) => setCount(facts(), s, 'heads', n)),
    neurons: make_('neurons-count', 'Neurons', 'strongest first', 0, COUNT_STEPS, 1, (s, n) => setCount(facts(), s, 'neurons', n)),
    gamma: make_('gate-gamma', 'Gate, how much', 'γ, 1: the whole vector', 0.1, 4, 0.05, gate('gamma')),
    size: make_('gate-size', 'Gate size', 'far right: all', LEAST_SIZE, 1000, 1, (s, n) => setSize(facts(), s, n)),
    rho_attn: make_('rho-attn', 'ρ heads', 'lower is more', 0.005, 1.5, 0.001, (s, rho) => setRho(s, 'heads', rho)),
    rho_mlp: make_('rho-mlp', 'ρ neurons', 'lower is more', 0.005, 1.5, 0.001, (s, rho) => setRho(s, 'neurons', rho)),
    alpha: make_('alpha', 'α', 'higher edits fewer', 0.01, 0.99, 0.01, (s, alpha) => ({...s, alpha})),
    protect: make_('protect', 'Protect', 'input directions', 0, 32, 1, (s, n) => ({...s, protect: Math.round(n)})),
  };
  const mu = choice('gate-mu', 'μ, how strictly the rest is protected', value => change(s => gate('mu')(s, +value), 'mu'));
  const family = choice('family', 'Kind of edit', value => act.family(value));
  const preset = choice('preset', 'Settings', name => {
    const found = facts().presets.find(one => one.name === name);
    if (found) change(() => found.settings);
  });
  const boxes = {
    heads: box('heads-on', 'Edit heads', on => change(s => setKind(facts(), s, 'heads', on))),
    neurons: box('neurons-on', 'Edit neurons', on => change(s => setKind(facts(), s, 'neurons', on))),
  };
  const formula = make('p', {className: 'formula'});
  const forget = make('button', {type: 'button', className: 'quiet', textContent: 'Forget my settings', title: told.forget || '', onclick: () => act.forget()});
  root.append(
    make('div', {className: 'dials first'}, all.strength.node),
    make('div', {className: 'dials'}, all.heads.node, all.neurons.node),
    make('div', {className: 'dials'}, all.gamma.node, all.size.node),
    preset.node,
    make('details', {id: 'advanced'}, make('summary', {textContent: 'Advanced'}),
      family.node,
      make('div', {className: 'dials'}, all.rho_attn.node, all.rho_mlp.node),
      make('div', {className: 'dials'}, all.alpha.node, all.protect.node),
      mu.node, make('div', {className: 'boxes'}, boxes.heads.node, boxes.neurons.node, forget), formula),
  );

  const rhoDial = rho => rho === null ? {} : {value: rho, max: Math.max(1.5, Math.ceil(rho * 2) / 2)};
  const countDial = (settings, kind) => {
    const value = countAbove(facts(), settings, kind), grown = 10 ** Math.ceil(Math.log10(Math.max(value, 1)));
    const {count} = facts().kinds[kind];
    return {value, max: Math.min(count, Math.max(COUNT_STEPS, grown)), typed: count};
  };
  const showNet = (settings, shown) => {
    for (const kind of ['heads', 'neurons']) {
      const there = shown && facts().kinds[kind].count > 0;
      all[kind].set({...countDial(settings, kind), shown: there, said: settings.gate ? 'besides the gate’s' : 'strongest first'});
      boxes[kind].set(rhoOf(settings, kind) !== null);
      boxes[kind].node.hidden = !there;
    }
    all.rho_attn.set({...rhoDial(settings.rho_attn), shown});
    all.rho_mlp.set({...rhoDial(settings.rho_mlp), shown});
    all.alpha.set({value: settings.alpha, shown});
  };
  const showGate = (settings, shown) => {
    const it = settings.gate || DEFAULT_GATE, most = mostSize(facts(), settings);
    all.gamma.set({value: it.gamma, min: Math.min(0.1, it.gamma), max: Math.max(4, it.gamma), shown});
    all.size.set({value: it.size === null ? most : Math.min(it.size, most), max: most, shown});
    all.protect.set({value: settings.protect || 0, max: Math.max(32, settings.protect || 0), shown});
    mu.node.hidden = !shown || familyOf(settings) === 'baked';
    if (!mu.node.hidden) mu.set(muChoices(facts(), settings).map(one => [String(one), String(one)]), String(it.mu));
  };
  const showPresets = (settings, file) => {
    const names = facts().presets.map(({name}) => name), now = file ? null : presetOf(facts(), settings);
    preset.set((now ? names : [...names, BY_HAND]).map(name => [name, name]), now ? now.name : BY_HAND);   // nobody chooses it
  };
  return ({settings, file, rule}) => {
    const kind = familyOf(settings);
    all.strength.set({value: settings.strength});
    showNet(settings, hasNet(settings) || !settings.gate);
    showGate(settings, kind !== 'elastic');
    family.set(FAMILIES, kind);
    showPresets(settings, file);
    formula.textContent = rule;
  };
};

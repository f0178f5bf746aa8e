// The fields of the question: what they say, and what a behaviour or an address puts into them.

import {make} from '../studio/dom.js';

const MOST_CHARS = 4000;
const field = id => document.querySelector(`#${id} input`);

/** What is asked. Throws an Error with a sentence for what cannot be asked. */
export const question = () => {
  const prompt = field('prompt').value, numbers = {};
  if (!prompt.trim()) throw new Error('The prompt is empty. Type one, or choose one of the examples.');
  if (prompt.length > MOST_CHARS) throw new Error(`The prompt has ${prompt.length} characters; at most ${MOST_CHARS} are read. Shorten it.`);
  for (const name of ['length', 'temperature', 'seed', 'gamma']) {
    const {value, min, max} = field(name);
    if (value === '' || +value < +min || +value > +max) throw new Error(`The field ${name} needs a number from ${min} to ${max}.`);
    numbers[name] = +value;
  }
  return {prompt, ...numbers, length: Math.round(numbers.length), seed: Math.round(numbers.seed), isSteered: field('steered').checked, isPrompted: field('prompted').checked, isPlacebo: field('placebo').checked};
};

/** Fills the fields from an address, as far as it names them. */
export const fill = asked => {
  for (const name of ['prompt', 'length', 'temperature', 'seed']) {
    const value = asked?.[name];
    if (typeof value === 'string' || Number.isFinite(value)) field(name).value = value;
  }
};

/** What stands in the fields now, as an address holds it. */
export const asked = () => Object.fromEntries(['prompt', 'length', 'temperature', 'seed'].map(name => [name, name === 'prompt' ? field(name).value : +field(name).value]));

/** The fields and examples of a behaviour. */
export const offer = (behavior, chosen) => {
  fill({prompt: behavior.examples[0].prompt, length: behavior.length});
  field('gamma').value = behavior.gamma;
  field('swap').checked = behavior.swapped;
  field('prompted').disabled = !behavior.system;
  if (!behavior.system) field('prompted').checked = false;
  document.querySelector('#wanted').textContent = `Wanted: ${behavior.positive}, rather than ${behavior.negative}. ${behavior.swapped ? '' : behavior.lesson}`;
  document.querySelector('#examples .gallery').replaceChildren(...behavior.examples.map(({prompt, label}) =>
    make('button', {type: 'button', className: 'gallery-item', title: prompt, textContent: label, onclick: () => { field('prompt').value = prompt; chosen(); }})));
};

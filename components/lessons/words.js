// The texts of a language: looked up by name, filled with what was read from the page, and turned into elements. Every
// figure comes in through a placeholder. Knows no lesson.

import {make} from '../studio/dom.js';

/** {say, has, number, percent, language} of a catalogue; a name or a placeholder that it lacks is an error. */
export const words = (language, catalogue) => {
  const find = name => name.split('.').reduce((at, part) => at?.[part], catalogue);
  const fill = (text, values, name) => text.replace(/\{(\w+)\}/g, (_, key) => {
    if (values[key] === undefined || values[key] === null) throw new Error(`${language}: ${name} lacks ${key}`);
    return values[key];
  });
  const say = (name, values = {}) => {
    const text = find(name);
    if (text === undefined) throw new Error(`${language}: no text ${name}`);
    return Array.isArray(text) ? text.map(one => fill(one, values, name)) : fill(text, values, name);
  };
  const format = options => value => new Intl.NumberFormat(language, options).format(value);
  const signed = digits => format({minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: 'exceptZero'});
  return {
    language, say, has: name => find(name) !== undefined, number: format({maximumFractionDigits: 2}),
    signed: (value, digits = 2) => signed(digits)(value).replace('-', '−'),
    percent: format({style: 'percent', maximumFractionDigits: 1}),
  };
};

/** A text with *names of controls* as a list of nodes. */
export const rich = text => text.split('*').map((part, n) => n % 2 ? make('b', {}, part) : part);
export const paragraphs = text => [text].flat().map(one => make('p', {}, ...rich(one)));

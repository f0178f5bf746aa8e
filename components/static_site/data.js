// What the site's folder holds of each behaviour, fetched when it is first needed, and the questions that the studio asks of
// a server: here they are answered in the tab.

import {decode} from '../studio/facts.js';
import {canonical} from '../studio/settings.js';
import {decodeVectors} from '../tab_model/edits.js';
import {decodeMoments, fittedEdit} from '../tab_model/gates.js';

const PROTECT = 'Protecting input directions needs the app. Set Protect to 0 here.', SWAPPED = '.swapped';

const fetched = async (path, kind) => {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} cannot be loaded (${response.status}). Check that the whole folder is on the server.`);
  return response[kind]();
};
const once = make => {   // a failed fetch is tried again
  const known = new Map();
  return name => {
    if (!known.has(name)) known.set(name, make(name).catch(error => { known.delete(name); throw error; }));
    return known.get(name);
  };
};
const base64 = values => {
  const bytes = new Uint8Array(values.buffer);
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
};

/** An edit as the server of the app sends it: the numbers of the components that it changes, and their figures. */
const packed = edit => {
  const numbers = mask => Int32Array.from(mask.keys()).filter(i => mask[i] !== 0), at = numbers(edit.lam);
  const figures = ['lam', 'change', 'on', 'off'].map(name => [name, base64(Float32Array.from(at, i => edit[name][i]))]);
  return {at: base64(at), edited: base64(numbers(edit.edited)), ruled: base64(numbers(edit.ruled)), harmless: edit.harmless, ...Object.fromEntries(figures)};
};

export const siteData = () => {
  const file = once(async name => {
    const sent = await fetched(`behaviors/${name}.json`, 'json'), facts = decode(sent.facts);
    return {...sent, name, known: facts, vectors: decodeVectors(facts, sent.vectors)};
  });
  const behavior = ({behavior: name, swapped}) => file(`${name}${swapped ? SWAPPED : ''}`);
  const moments = once(async name => {
    const {known, vectors} = await file(name);   // the prompts that a gate is fitted on have no sides
    return decodeMoments(known, vectors, await fetched(`behaviors/${name}.moments`, 'arrayBuffer'));
  });
  let latest = {shape: '', strength: 1, edit: null};   // a moved strength needs no new solution

  /** The edit of a place: as the studio draws it, with the right vector that the model needs. */
  const editOf = async ({behavior: name, swapped, settings}) => {
    const {known, vectors} = await behavior({behavior: name, swapped});
    if (settings.protect) throw new Error(PROTECT);
    const shape = `${name} ${Boolean(swapped)} ${canonical({...settings, strength: 1})}`;
    if (latest.shape !== shape) {
      const fitted = settings.gate ? await moments(name) : null;
      latest = {shape, edit: fittedEdit(known, vectors, fitted, {...settings, strength: 1})};
    }
    const {edit} = latest, times = values => values.map(value => value * settings.strength);
    return {...edit, ...Object.fromEntries(['right', 'lam', 'change', 'on', 'off'].map(figure => [figure, times(edit[figure])]))};
  };
  /** Everything of a behaviour, so that a page that was loaded needs no network. */
  const keep = async name => { await Promise.all([file(name), file(`${name}${SWAPPED}`), moments(name)]); };

  const server = {
    facts: async place => (await behavior(place)).facts,
    chance: async place => (await behavior(place)).chance,
    solve: async place => packed(await editOf(place)),
    stop: () => true,
    ahead: () => null,
    about: async place => (await behavior(place)).about,
  };
  return {behavior, editOf, keep, server};
};

// Edits that the tab cannot compute: gates and what is protected are fitted on texts, a brought edit lies in its file.
// The server is asked for the latest alone; until it has answered, the edit it solved last is shown, scaled by strength.

import {floats, whole} from './facts.js';
import {canonical} from './settings.js';

const sparse = (n, at, values) => {
  const full = new Float32Array(n);
  at.forEach((i, k) => { full[i] = values[k]; });
  return full;
};

/** The answer of the server as an edit over all components. */
export const unpack = (facts, sent) => {
  const at = whole(sent.at), [edited, ruled] = [sent.edited, sent.ruled].map(numbers => {
    const mask = new Uint8Array(facts.n);
    for (const i of whole(numbers)) mask[i] = 1;
    return mask;
  });
  const read = name => name in sent ? sparse(facts.n, at, floats(sent[name])) : null;   // an empty text is an empty edit
  const [lam, change, on, off] = ['lam', 'change', 'on', 'off'].map(read), right = sent.right ? floats(sent.right) : null;
  return {right, lam, change, on, off, edited, ruled, harmless: sent.harmless, settings: sent.settings || null};
};

/** Every edit is proportional to the strength: what was solved at another one needs no server to be shown. */
export const scaled = (edit, factor) => {
  const times = values => values && values.map(value => value * factor);
  return {...edit, right: times(edit.right), lam: times(edit.lam), change: times(edit.change), on: times(edit.on), off: times(edit.off)};
};

/** What decides about an edit besides its strength. */
export const shape = (facts, {settings, file}) => `${facts.key} ${file?.key || ''} ${canonical({...settings, strength: 1})}`;

/** Asks for one edit at a time, and then for the latest that was wanted meanwhile. */
export const asker = (ask, answered) => {
  let busy = false, wanted = null;
  const next = async () => {
    if (busy || !wanted) return;
    const question = wanted;
    wanted = null;
    busy = true;
    try { answered(question, await ask(question.place)); } catch (error) { answered(question, {error: String(error.message || error)}); }
    busy = false;
    next();
  };
  return question => { wanted = question; next(); };
};

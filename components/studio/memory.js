// The settings that a person left a behaviour with, kept in this browser alone and offered again as a preset.

import {presetOf, same} from './settings.js';

const PREFIX = 'steer2edit ';
const keyOf = ({model, behavior, swapped, key}) => `${PREFIX}${model} ${behavior} ${swapped} ${key}`;

/** Where a browser forbids to keep anything, nothing is kept. */
const storage = () => { try { return window.localStorage; } catch { return null; } };

export const remember = (place, {settings, file}, facts) => {
  if (file || presetOf(facts, settings)) return;
  try { storage()?.setItem(keyOf(place), JSON.stringify(settings)); } catch { /* it is full, and holds nothing that matters */ }
};

export const recalled = (place, facts) => {
  const kept = storage()?.getItem(keyOf(place));
  if (!kept) return [];
  const settings = JSON.parse(kept);
  return facts.presets.some(preset => same(preset.settings, settings)) ? []
    : [{name: 'As you left it last time', kind: 'mine', settings, told: ''}];
};

export const forget = () => {
  const kept = storage();
  if (kept) for (const key of Object.keys(kept)) if (key.startsWith(PREFIX)) kept.removeItem(key);
};

// Undo and redo of the edit: steps of {settings, file}, as a value. One drag of one dial is one step.

const MOST_STEPS = 100, DRAG_MS = 1000;   // a dial that rests longer begins another step

export const begin = step => ({now: step, past: [], future: [], dial: '', at: -Infinity});

/** Go to another step; `dial` names the dial that moved, if one did. */
export const go = (history, step, dial = '', at = 0) => {
  const drag = dial && dial === history.dial && at - history.at < DRAG_MS;
  const past = drag ? history.past : [...history.past, history.now].slice(-MOST_STEPS);
  return {now: step, past, future: [], dial, at};
};
export const undo = history => !history.past.length ? history : {
  now: history.past.at(-1), past: history.past.slice(0, -1), future: [history.now, ...history.future], dial: '', at: -Infinity,
};
export const redo = history => !history.future.length ? history : {
  now: history.future[0], past: [...history.past, history.now], future: history.future.slice(1), dial: '', at: -Infinity,
};
/** Earlier settings, the latest first. */
export const earlier = history => history.past.map(step => step.settings).reverse();

// What a lesson reads from the page and how it points at it: the studio's values, the judged answers, the texts.
// Everything that a lesson says in figures comes from here. Knows the ids of the page.

import {summarize} from '../studio/method.js';

const find = selector => document.querySelector(selector);
const studio = () => window.steer2edit;

/** The judged answers of every column, `changed` of them from the first column's; and whether they are complete. */
const answers = () => {
  const root = find('#rolls .rolls');
  const columns = [...root?.querySelectorAll('.roll-column') || []].map(column => {
    const all = [...column.querySelectorAll('.roll')], known = all.filter(one => one.dataset.wanted !== 'null');
    return {
      judged: known.length > 0, total: all.length, count: all.filter(one => one.dataset.wanted === 'true').length,
      tokens: all.reduce((sum, one) => sum + +one.dataset.tokens, 0) / Math.max(1, all.length),
      changed: all.filter(one => one.dataset.changed === 'true').length,
      open: all.findIndex(one => one.getAttribute('aria-pressed') === 'true'),
    };
  });
  const complete = Boolean(columns.length)
    && root.getAttribute('aria-busy') === 'false' && !root.classList.contains('outdated');
  return {columns, complete, arrived: +(root?.dataset.arrived || 0)};
};

/** All that a step can ask about; null before the studio has drawn for the first time. */
export const look = () => {
  const state = studio()?.state?.();
  if (!state) return null;
  const read = id => find(`#${id} :is(textarea, input)`);
  return {
    ...state, size: summarize(state.facts, state.edit), ...answers(),
    mostNeurons: +find('#neurons-count input[type=range]')?.max, prompt: read('prompt')?.value, seed: read('seed')?.value, length: +read('length')?.value, gamma: +read('gamma')?.value,
    ticked: id => Boolean(read(id)?.checked), atRest: Boolean(studio().isAtRest()) && !state.waiting,
  };
};

/** Calls `act` soon after anything that a lesson looks at has changed; gives what ends that. */
export const watch = act => {
  let timer = 0;
  const soon = () => { clearTimeout(timer); timer = setTimeout(act, 120); };
  const seen = new MutationObserver(soon);
  seen.observe(document.body, {attributeFilter: ['data-studio']});
  for (const id of ['rolls', 'texts', 'options']) {
    const node = document.getElementById(id);
    if (node) seen.observe(node, {subtree: true, childList: true, attributes: true});
  }
  document.addEventListener('input', soon);
  return () => { clearTimeout(timer); seen.disconnect(); document.removeEventListener('input', soon); };
};

/** Sets a field of the page as a person's typing does. */
export const type = (id, value) => {
  const field = find(`#${id} :is(textarea, input)`);
  if (!field || field.value === String(value)) return;
  field.value = value;
  field.dispatchEvent(new Event('input', {bubbles: true}));
  field.dispatchEvent(new Event('change', {bubbles: true}));
};
export const tick = (id, on) => {
  const field = find(`#${id} input`);
  if (field && field.checked !== on) field.click();
};
/** Covers texts and answers with a sentence, so that nobody reads the result before predicting it; '' uncovers them. */
export const veil = sentence => {
  for (const one of document.querySelectorAll('#texts, #rolls')) if (sentence) one.dataset.veil = sentence; else delete one.dataset.veil;
};
/** Calls `act` when somebody asks for the judged answers; gives what ends that. */
export const whenAsked = act => {
  const listen = ({target}) => { if (target.closest?.('#ask-eight, #alone')) act(); };
  window.addEventListener('click', listen, {capture: true});   // before the tab's own model takes the click
  return () => window.removeEventListener('click', listen, {capture: true});
};
/** The two texts of the edit on the page, where they are of an earlier one. */
export const renewTexts = () => { if (find('#texts .texts.outdated')) find('#run')?.click(); };
/** The settings and what is asked, as a lesson begins: nothing of an earlier lesson stays. */
export const stage = (settings, about) => {
  studio().change(() => settings);
  for (const id of ['steered', 'prompted', 'placebo']) tick(id, false);
  for (const [id, value] of [['prompt', about.prompt], ['temperature', 0], ['seed', 0], ['gamma', about.gamma]]) type(id, value);
  find('#run')?.click();
};
export const ask = prompt => { type('prompt', prompt); find('#run')?.click(); };
export const focusOn = component => studio().focus(component);
export const openFold = id => { const fold = find(`#${id}`); if (fold) fold.open = true; };
export const wordOn = id => find(`#${id}`)?.textContent.trim() ?? '';
export const place = () => studio().place();
/** Whether the page has measurements that need a server; the static site lacks them. */
export const measures = () => Boolean(find('#take-apart'));

// ---- pointing ----------------------------------------------------------------------------------------------------------

const FOCUSABLE = 'input:not([type=hidden]), select, textarea, button, [tabindex="0"]';

export const pointNowhere = () => {
  for (const one of document.querySelectorAll('[data-lesson-target]')) delete one.dataset.lessonTarget;
};
/** Rings a control and scrolls to it, if there is one, and says so; `takesFocus` also gives it the focus, `focus` names what inside of it takes keys. */
export const pointAt = (selector, {focus, takesFocus}) => {
  pointNowhere();
  const node = find(selector);
  if (!node) return false;
  node.dataset.lessonTarget = '';
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const inner = () => node.querySelector('input[type=range]') ?? node.querySelector(FOCUSABLE);
  const goal = focus ? find(focus) : node.matches(FOCUSABLE) ? node : inner();
  if (takesFocus) goal?.focus({preventScroll: true});
  node.scrollIntoView({block: 'center', behavior: calm ? 'auto' : 'smooth'});
  return true;
};

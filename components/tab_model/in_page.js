// The model in the tab of the app: it writes what the server would write, after every move and when it is asked. The server
// writes the rest, and everything until the model is here, which is fetched once somebody does something on the page.

import {decodeVectors, netRight} from './edits.js';
import {writer} from './live.js';
import {openTabModel} from './tab_model.js';

const LONG_MS = 300;   // after so long, a Stop button can end it
const STOP = 'stop-run', BUTTONS = {run: 'compare', 'ask-eight': 'rolls'};

const isOn = id => document.querySelector(`#${id} input`)?.checked === true;
const widget = kind => document.querySelector({compare: '#texts .texts', rolls: '#rolls .rolls'}[kind]);

/** What is asked; null for what cannot be asked, which the server says in a sentence. */
const question = longest => {
  const prompt = document.querySelector('#prompt textarea').value, numbers = {};
  if (!prompt.trim() || [...prompt].length > longest) return null;
  for (const name of ['length', 'temperature', 'seed', 'gamma']) {
    const {value, min, max} = document.querySelector(`#${name} input`);
    if (value === '' || !(+value >= +min && +value <= +max)) return null;
    numbers[name] = +value;
  }
  return Number.isInteger(numbers.length) && Number.isInteger(numbers.seed) ? {
    prompt, ...numbers, isSteered: isOn('steered'), isPrompted: isOn('prompted'), isPlacebo: isOn('placebo'),
  } : null;
};

/** Runs that take long are known to the Stop button; `halt` is told those that it ends. */
const stoppable = () => {
  const stops = new Map();
  const halt = names => {
    for (const name of names) stops.get(name)?.();
    window.steer2edit.broken();
  };
  window.steer2edit = {...window.steer2edit, halt};
  return (kind, work, stop) => {
    let name = '';
    const timer = setTimeout(() => { name = window.steer2edit.begin(STOP, kind, 'tab'); stops.set(name, stop); }, LONG_MS);
    work.finally(() => {
      clearTimeout(timer);
      if (stops.delete(name)) window.steer2edit.ended(STOP, kind);
    });
  };
};

/** {drawn(state)}, which the studio tells what it has drawn; `server` answers questions, `scripts` and `model` are addresses. */
export const inPage = ({server, scripts, model: weights}) => {
  let state = null, known = {key: ''}, model = null, opened = '', write = null, isAwake = false, isOpening = false;
  let asked = '', restedAt = '', passing = false;   // what was asked last; the server is to answer
  const due = new Set();             // what is asked of an edit that the server still fits
  const run = stoppable();

  // ---- what it needs ---------------------------------------------------------------------------------------------------

  /** Of another model, or of other examples; whether anything is new. */
  const learn = async () => {
    const {facts, place} = state;
    if (known.key === facts.key) return false;
    known = {key: facts.key, tab: null};
    const mine = known, sent = await server.tab?.(place);
    if (sent && !sent.error) mine.tab = {...sent, known: facts, vectors: decodeVectors(facts, sent.vectors)};
    return known === mine;
  };
  const open = async () => {
    const isNew = await learn();
    if (model && isNew && restedAt === state.made) rested();   // it has heard of it too early
    if (!known.tab || model || isOpening) return;
    isOpening = true;
    const {turn, words} = known.tab;
    opened = turn.join();
    model = await openTabModel({scripts, model: new URL(`${known.tab.weights}/`, weights), turn}).catch(() => null);   // then the server goes on
    const shown = kind => value => widget(kind).show({...value, asked: `${value.asked} · in this tab`});
    const show = {texts: shown('compare'), rolls: shown('rolls'), failed: pass};
    const data = {behavior: ({tab}) => tab, editOf: ({tab, facts, edit}) => ({...edit, right: edit.right ?? netRight(facts, tab.vectors, edit.lam)})};
    write = writer({model, data, words, question: () => question(Infinity), show});
    document.body.dataset.tabModel = String(Boolean(model));
  };
  const wake = () => {
    isAwake = true;
    if (state) open();
  };
  for (const event of ['pointerdown', 'keydown']) document.addEventListener(event, wake, {capture: true, once: true});

  // ---- who writes ------------------------------------------------------------------------------------------------------

  const able = kind => {
    if (passing || !model || !state || known.key !== state.facts.key || known.tab?.turn.join() !== opened || state.place.under) return false;
    const {file, settings, edit, waiting} = state, isFitted = file || settings.gate || settings.protect;
    if (isFitted && !edit.right && !waiting) return false;
    const canPrompt = known.tab.system || !isOn('prompted');   // the server says why not
    return canPrompt && !window.steer2edit.isAsked(STOP, kind) && question(known.tab.longest) !== null;
  };
  const pass = (_, kind) => {
    passing = true;
    document.querySelector(kind === 'rolls' ? '#ask-eight' : '#run').click();
    passing = false;
  };
  const place = () => ({...state.place, facts: state.facts, edit: state.edit, tab: known.tab});
  const texts = () => {
    const now = JSON.stringify([state.made, question(Infinity)]);
    if (write.isWriting() && asked === now) return;
    asked = now;
    const isFirst = !write.isWriting(), work = write.texts(place());
    if (isFirst) run('compare', work, write.stopTexts);
  };
  const rolls = () => run('rolls', write.rolls(place()), write.stopRolls);
  /** At once, or as soon as the server has fitted the edit. */
  const ask = kind => {
    if (state.waiting) { due.add(kind); return; }
    due.delete(kind);
    if (kind === 'compare') texts(); else rolls();
  };

  document.addEventListener('click', event => {
    const button = event.target.closest?.('#run, #ask-eight, #ask-alone'), kind = BUTTONS[button?.id];
    if (!button || !write) return;
    if (!kind || !able(kind)) {   // what the server writes now is not to be written over
      if (kind === 'compare') write.stopTexts(); else write.stopRolls();
      return;
    }
    event.stopImmediatePropagation();
    ask(kind);
    document.dispatchEvent(new CustomEvent('studio:asked'));
  }, {capture: true});
  const rested = () => {
    if (!isOn('follow')) return;
    if (able('compare') && asked !== JSON.stringify([state.made, question(Infinity)])) ask('compare');
    if (able('rolls') && !widget('rolls').hidden) ask('rolls');
  };
  document.addEventListener('studio:rested', ({detail}) => {
    restedAt = detail.made;
    rested();
  });

  return {
    drawn: next => {
      const before = state;
      state = next;
      if (before && before.made === next.made && before.waiting === next.waiting) return;
      if (before?.made !== next.made) due.clear();
      write?.stopRolls();
      if (isAwake) open();
      // Other examples bring another prompt, which may still be on its way: it is asked at rest.
      const isSame = before?.facts.key === next.facts.key;
      if (isSame && !next.waiting && isOn('follow') && able('compare')) due.add('compare');
      if (!next.waiting) for (const kind of [...due]) ask(kind);
    },
  };
};

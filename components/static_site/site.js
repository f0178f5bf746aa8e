// The static site: the studio of the app, with the tab in the place of the server. Connects dials, question and model.

import {make} from '../studio/dom.js';
import {elasticNet} from '../studio/method.js';
import {start as startLessons} from '../lessons/lessons.js';
import {start} from '../studio/studio.js';
import {fromFragment} from '../studio/url.js';
import {writer} from '../tab_model/live.js';
import {openTabModel} from '../tab_model/tab_model.js';
import {siteData} from './data.js';
import {csvOf, download} from './csv.js';
import {asked as askedNow, fill, offer, question} from './fields.js';
import {start as rollsWidget} from './rolls.js';
import {start as textsWidget} from './text_columns.js';

const TYPING_MS = 350, LARGEST = 1e6;
const here = path => new URL(path, document.baseURI);
const status = document.querySelector('#status');
const say = sentence => { status.textContent = sentence; status.classList.toggle('alarm', Boolean(sentence)); };

/** A widget of the comparison: a function that shows a value. */
const widget = (id, begin) => {
  const props = {value: null}, listeners = [], element = document.getElementById(id);
  begin(element, props, (_, listener) => listeners.push(listener));
  return value => {
    props.value = value;
    for (const listener of listeners) listener();
    element.dataset.milliseconds = value.milliseconds === undefined ? '' : Math.round(value.milliseconds);
    element.dataset.edit = value.edit ?? '';
  };
};

/** Where the tab is, as the studio's machinery tells it: `moved` hears every move, `turn` goes to another place. */
const placeHolder = moved => {
  let held = null, arrived = () => {};
  const props = {get value() { return held; }, set value(value) { held = value; if (value.made && value.made !== 'restored') moved(value); }};
  return {props, watch: (_, listener) => { arrived = listener; }, turn: place => { held = place; arrived(); }};
};

/** Throws an Error for settings that no dial can have made; they come from an address. */
const check = (facts, settings) => {
  let largest = NaN;
  try { largest = Math.max(...elasticNet(facts, settings).lam.map(Math.abs), settings.gate?.gamma ?? 0, settings.gate?.mu ?? 0); } catch { /* stays NaN */ }
  if (!(largest <= LARGEST)) throw new Error('This page’s address or its settings cannot be read. Choose a behaviour to start from.');
};

const open = async () => {
  const site = await (await fetch('site.json')).json(), data = siteData(), {words} = site, names = site.behaviors.map(({name}) => name);
  const turn = await (await fetch('model/turn.json')).json();
  const model = await openTabModel({scripts: here('tab_model/'), model: here('model/'), turn});
  say('');
  let place = null;
  /** What is shown is of an earlier question or edit, and nothing is on its way. */
  const outdate = selector => {
    for (const one of document.querySelectorAll(selector)) { one.classList.add('outdated'); one.setAttribute('aria-busy', 'false'); }
  };
  const shown = draw => value => { say(''); draw(value); };
  const show = {
    texts: shown(widget('texts', textsWidget)), rolls: shown(widget('rolls', rollsWidget)),
    failed: sentence => { say(sentence); outdate('.texts, .rolls'); },
  };
  const write = writer({model, data, words, question, show});
  const follows = () => document.querySelector('#follow input').checked;
  let typing = 0, alone = null;   // the edit of which one component was asked alone
  const stopRolls = () => { clearTimeout(typing); write.stopRolls(); outdate('.rolls'); };
  const halt = () => { stopRolls(); write.stopTexts(); outdate('.texts'); };
  const holder = placeHolder(moved => {
    place = moved;
    if (!follows()) { halt(); return; }
    stopRolls();
    write.texts(place);
  });
  /** Texts now; judged answers follow, unless by then they shall not. */
  const asked = () => {
    if (!place) return;
    clearTimeout(typing);
    outdate('.texts');
    write.texts(place);
    if (!follows()) return;
    stopRolls();
    typing = setTimeout(() => { if (follows()) write.rolls(place); }, TYPING_MS);
  };
  const roll = ofPlace => { clearTimeout(typing); write.rolls(ofPlace); };

  // ---- behaviours ------------------------------------------------------------------------------------------------------

  const nav = document.querySelector('#behavior'), buttons = new Map(site.behaviors.map(({name, title}) =>
    [name, make('button', {type: 'button', textContent: title, onclick: () => turnTo(name)})]));
  nav.append(...buttons.values());
  /** The place of a behaviour with its suggested edit, or what an address wants of it. */
  const placeAt = async (name, wanted = {}) => {
    const swapped = wanted.swapped === true;
    const {known, facts} = await data.behavior({behavior: name, swapped}), settings = wanted.settings ?? facts.suggested;
    check(known, settings);
    const under = names.includes(wanted.under?.behavior) ? wanted.under : null;
    return {model: site.model, behavior: name, swapped, key: facts.key, settings, file: null, origin: null, under, focus: wanted.focus, mode: wanted.mode, made: '', job: ''};
  };
  const prepare = async (name, wanted) => {
    const next = await placeAt(name, wanted);
    offer(await data.behavior(next), () => { halt(); asked(); });
    fill(wanted?.ask);
    for (const [each, button] of buttons) button.setAttribute('aria-pressed', String(each === name));
    return next;
  };
  const turnTo = async (name, wanted) => {
    try { holder.turn(await prepare(name, wanted)); } catch (error) { show.failed(error.message); }
  };
  const wanted = () => {
    const found = fromFragment(window.location.hash);
    return found && names.includes(found.behavior) ? found : null;
  };

  // ---- the studio ------------------------------------------------------------------------------------------------------

  const first = wanted();
  holder.props.value = await prepare(first?.behavior ?? names[0], first ?? {}).catch(() => prepare(names[0]));   // a forged address
  const trigger = event => {
    if (event === 'rested' && place && follows() && alone !== place.made) write.rolls(place);
    const found = event === 'restore' && wanted();
    if (found) turnTo(found.behavior, found);
  };
  await start({props: holder.props, trigger, watch: holder.watch, server: data.server, told: site.told});
  for (const id of ['prompt', 'length', 'temperature', 'seed', 'steered', 'gamma', 'prompted', 'placebo']) document.getElementById(id).addEventListener('input', () => {
    halt();
    if (follows()) typing = setTimeout(asked, TYPING_MS);
  });
  document.querySelector('#prompt input').addEventListener('keydown', ({key}) => { if (key === 'Enter') asked(); });
  document.querySelector('#run').addEventListener('click', asked);
  document.querySelector('#ask-eight').addEventListener('click', () => { if (place) roll(place); });
  document.querySelector('#follow input').addEventListener('change', () => { if (follows() && document.querySelector('.outdated')) asked(); });
  document.querySelector('#ask-alone').addEventListener('click', () => {
    if (!place) return;
    alone = place.made;
    roll(window.steer2edit.alone(place));
  });
  document.querySelector('#swap input').addEventListener('change', ({target}) => { if (place) turnTo(place.behavior, {swapped: target.checked, ask: askedNow()}); });
  document.querySelector('#components-csv').addEventListener('click', async () => {
    if (!place) return;
    const name = `steer2edit-${place.behavior}${place.swapped ? '-swapped' : ''}-components.csv`;
    try { download(name, csvOf(window.steer2edit.state().facts, await data.editOf(place))); } catch (error) { say(error.message); }
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', ({matches}) => document.body.classList.toggle('dark', matches));

  const lessons = await startLessons({root: document.querySelector('.lessons'), server: data.server, languages: site.languages});

  await lessons.keep();
  for (const name of names) await data.keep(name);
  document.body.dataset.kept = 'all';   // from here on the page needs no network
};

open().catch(error => say(error.message));

// The studio: the settings of the edit live here, in the tab. Every change goes through `change`, is computed at once,
// drawn, and told to the page as one value; the server is asked for what needs a model, and keeps nothing.

import {arrival, make} from './dom.js';
import {card} from './card.js';
import {chanceAsker, randomLevel} from './chance.js';
import {decode, gridOf, kindOf, layerOf, nameOf, numberOf} from './facts.js';
import {dials} from './dials.js';
import {dots} from './dots.js';
import * as steps from './history.js';
import {heatmap} from './maps.js';
import {byHand, elasticNet, needsTexts} from './method.js';
import {selection} from './selection.js';
import {keepOnly, setFamily, switchOn} from './settings.js';
import {asker, scaled, shape, unpack} from './solved.js';
import {summary} from './summary.js';
import {table} from './table.js';
import {under} from './under.js';
import {forget, recalled, remember} from './memory.js';
import {fragment, fromFragment} from './url.js';
import {rule} from './words.js';

const RESTING_MS = 250;
const ASKED = '#prompt, #length, #temperature, #seed';
const HEIGHT = 200;

/** `live` is told what is drawn, where a model in the tab writes; the rest is the widget's machinery. */
export const start = async ({props, trigger, watch, server, told, live}) => {
  const roots = Object.fromEntries(await Promise.all(
    ['summary', 'dials', 'maps', 'selection', 'table-panel', 'inspector-panel'].map(async id => [id, await arrival(id)])));
  let facts = null, place = null, history = null, edit = null;   // of the extraction; where the tab is; its steps; what is drawn
  let focus = -1, mode = 'g', below = null;                      // what is looked at, what colour means, what lies under the edit
  let made = 0, turned = '', restoring = false, arriving = 0, waiting = false;
  let drawn = null, timer = 0, noting = 0, painting = 0;
  const kept = new Map();   // edits that the server has solved, by their shape: the latest alone
  const context = () => ({facts, settings: history.now.settings});

  // ---- the edit ------------------------------------------------------------------------------------------------------

  const asked = asker(question => server.solve(question), ({id, strength}, answer) => {
    if (answer.error) { failed(answer.error); return; }
    kept.clear();
    kept.set(id, {strength, edit: unpack(facts, answer)});
    if (shape(facts, history.now) === id) draw();
  });
  const solved = step => {   // null until the server has answered for the first time
    const id = shape(facts, step), strength = step.file ? 1 : step.settings.strength, known = kept.get(id);
    if (known) return known.strength === strength ? known.edit : scaled(known.edit, strength / known.strength);
    const settings = step.file ? step.settings : {...step.settings, strength: strength || 1};
    asked({id, strength: strength || 1, place: {...value(), settings}});
    return null;
  };
  const current = () => {
    const step = history.now, wants = step.file || needsTexts(step.settings), found = wants || mode === 'when' ? solved(step) : null;
    waiting = !found && Boolean(wants);
    return found || (wants ? edit : null) || elasticNet(facts, step.settings);
  };
  // What settings select; those of a gate go out from what the server said of its rule.
  const mask = settings => {
    if (!needsTexts(settings) || !edit?.ruled) return elasticNet(facts, settings).edited;
    const found = edit.ruled.slice();
    for (const pair of settings.included) found[numberOf(facts, pair)] = 1;
    for (const pair of settings.excluded) found[numberOf(facts, pair)] = 0;
    return found;
  };
  const failed = sentence => { roots.summary.querySelector('.verdict').textContent = sentence; };

  // ---- changes -------------------------------------------------------------------------------------------------------

  const early = [];   // what a quick visitor did before the first place had arrived
  const goTo = next => { history = next; changed(); };
  const change = (step, dial = '') => {
    if (!history) { early.push([step, dial]); return; }   // the scores are still on their way
    const settings = step(history.now.settings);
    if (settings !== history.now.settings || history.now.file) goTo(steps.go(history, {settings, file: null}, dial, performance.now()));
  };
  const changed = () => {
    restoring = false;
    made++;
    tell();
    cancelAnimationFrame(painting);
    painting = requestAnimationFrame(draw);   // a dial may move more often than the screen shows
  };
  const tell = () => {   // what every event of the page is told of the edit
    props.value = value();
    if (made) window.steer2edit?.outdate?.();
    clearTimeout(timer);
    timer = setTimeout(rested, RESTING_MS);
  };
  const rested = () => {
    timer = 0;
    if (drawn) drawTable(drawn);   // its rows are many: it follows when the dials rest
    if (restoring) return;   // and is told of the place that is on its way
    const another = turned !== place.key, address = fragment(shared());
    // Another behaviour is another page to go back from; a moved dial is not.
    if (another && turned && window.location.hash !== address) window.history.pushState(null, '', inPage(address));
    else window.history.replaceState(null, '', inPage(address));
    remember(place, history.now, facts);
    if (another) { turned = place.key; trigger('turned'); }
    trigger('rested');
    document.dispatchEvent(new CustomEvent('studio:rested', {detail: {made: String(made)}}));
    window.steer2edit?.rested?.(String(made));
  };
  const value = () => ({...place, settings: history.now.settings, file: history.now.file, under: below, made: String(made), job: ''});
  // What is looked at and what is asked changes no edit, and the address holds it too.
  const note = () => {
    clearTimeout(noting);
    noting = setTimeout(() => {
      noting = 0;
      if (history && !timer && !restoring) window.history.replaceState(null, '', inPage(fragment(shared())));
    }, RESTING_MS);
  };
  for (const event of ['input', 'change']) document.addEventListener(event, ({target}) => { if (target.closest?.(ASKED)) note(); });
  document.addEventListener('click', ({target}) => { if (target.closest?.('#run, #ask-eight')) note(); });   // after an example
  document.addEventListener('studio:asked', note);   // of the model in the tab, which the click did not pass
  /** What an address holds: the place, and what is asked. */
  const shared = () => {
    const read = id => document.querySelector(`#${id} :is(textarea, input)`)?.value;
    const {model, behavior, swapped, key, origin} = place, {settings, file} = history.now;
    const ask = {prompt: read('prompt'), length: +read('length'), temperature: +read('temperature'), seed: +read('seed')};
    return {model, behavior, swapped, key, origin, settings, file, under: below, focus, mode, ask};
  };

  const pick = ({action, components}) => {
    if (!components.length) return;
    const now = history.now.file ? edit.edited : mask(history.now.settings);   // quicker than the server's next answer
    const on = action === 'include' || (action === 'toggle' && !components.every(i => now[i]));
    if (components.length === 1) focus = components[0];
    change(settings => switchOn(facts, settings, components, on, mask));
  };
  const setFocus = i => {
    focus = i;
    draw();
    note();
    document.dispatchEvent(new CustomEvent('studio:focus', {detail: {focus}}));   // the card in full follows, if it is open
  };

  // ---- what is drawn -------------------------------------------------------------------------------------------------

  const drawDials = dials(roots.dials, {told, context, change, act: {
    family: name => change(settings => setFamily(facts, settings, name, steps.earlier(history))),
    forget: () => { forget(); facts.presets = facts.presets.filter(preset => preset.kind !== 'mine'); draw(); },
  }});
  const askChance = chanceAsker(question => server.chance(question), () => draw());
  const drawSummary = summary(roots.summary, {readChance: () => askChance(facts, value(), true)});
  const drawTable = table(roots['table-panel'], {onSwitch: (i, on) => pick({action: on ? 'include' : 'exclude', components: [i]}), onFocus: setFocus});
  const drawCard = card(roots['inspector-panel'], {
    change, onToggle: () => pick({action: 'toggle', components: [focus]}),
    onKeepOnly: () => change(settings => keepOnly(facts, settings, focus)),
    onAlone: () => document.querySelector('#ask-alone')?.click(), onWhy: () => document.querySelector('#why-ask')?.click(),
  });
  const drawSelection = selection(roots.selection, {
    told, context, change, setMode: name => { mode = name; draw(); note(); }, undo: () => history && goTo(steps.undo(history)), redo: () => history && goTo(steps.redo(history)),
  });
  const drawUnder = under(roots.dials.querySelector('#advanced'), {
    read: () => below, weigh: weight => { below = {...below, weight}; changed(); }, drop: () => { below = null; changed(); },
    keep: () => { below = {...value(), under: null, weight: 1, title: document.querySelector('#behavior input')?.value || place.behavior}; changed(); },
  });
  const pictures = picturesIn(roots.maps, {onPick: pick, onFocus: setFocus});

  const draw = () => {
    cancelAnimationFrame(painting);
    if (!facts) return;
    const {settings, file} = history.now;
    edit = current();
    const state = {facts, settings, file, edit, focus, mode, history, waiting, made: String(made), rule: rule(edit.settings || settings, edit.harmless || 'the harmless texts')};
    for (const one of [drawSummary, drawDials, drawCard, drawSelection, drawUnder]) one(state);
    drawn = state;
    if (!timer) drawTable(state);
    pictures.show({...edit, mode, focus, chance: facts.chance || null, hand: file ? new Uint8Array(facts.n) : byHand(facts, settings)});
    document.body.dataset.studio = String(made);
    live?.drawn({...state, place: value()});
  };

  // ---- what the server sends: another place --------------------------------------------------------------------------

  const arrived = async () => {
    const sent = props.value;
    if (!sent || !sent.key || sent.job === undefined || sent.made) return;   // what the tab itself has said comes back as well
    const first = !facts, another = first || facts.key !== sent.key;
    const turn = ++arriving;
    if (another) {
      const answer = await server.facts(sent);
      if (turn !== arriving) return;   // a later place was quicker
      if (answer.error) { failed(answer.error); return; }
      facts = decode(answer);
      facts.presets.push(...recalled(sent, facts));
      kept.clear();
      edit = null;
      pictures.load(facts, `${sent.model} · ${sent.origin ? sent.origin.name : sent.behavior} · alignment g`);
    }
    const {settings, file} = sent;
    const {model, behavior, swapped, key, origin = null} = sent;
    place = {model, behavior, swapped, key, origin, job: ''};
    if (sent.under !== undefined) below = sent.under;
    if (below && below.model !== model) below = null;   // it is an edit of another model
    history = another || !history ? steps.begin({settings, file}) : steps.go(history, {settings, file});
    if (another || focus >= facts.n) focus = sent.focus ?? strongest(facts, elasticNet(facts, settings));
    if (sent.mode || another) mode = sent.mode || 'g';
    if (first) tell(); else changed();   // the texts that the page comes with are those of its first edit
    draw();
    if (another) setTimeout(() => askChance(facts, value()), RESTING_MS);   // after the first picture, which needs none
    for (const [step, dial] of early.splice(0)) change(step, dial);
  };
  watch('value', arrived);
  await arrived();

  // ---- an address that names a place -----------------------------------------------------------------------------

  const restore = () => {
    const wanted = fromFragment(window.location.hash);
    if (!wanted || (place && window.location.hash === fragment(shared()))) return;
    props.value = {...(place ? value() : props.value), ...wanted, made: 'restored', job: ''};
    restoring = true;   // meanwhile the address stays: a reload restores the same
    trigger('restore');
  };

  document.addEventListener('keydown', event => {
    const typing = event.target.closest?.('textarea, input[type=text], input[type=number], [contenteditable=true]');
    const key = event.key.toLowerCase();
    if (typing || !(event.ctrlKey || event.metaKey) || !['z', 'y'].includes(key) || !history) return;
    event.preventDefault();
    goTo(key === 'y' || event.shiftKey ? steps.redo(history) : steps.undo(history));
  });
  // A card in full reads the examples: then their chance is known, too.
  document.addEventListener('why:shown', () => { if (facts?.wait?.waits) askChance(facts, value()); });
  window.steer2edit = {
    ...window.steer2edit, end: names => server.stop(names), ahead: name => server.ahead(name), place: value,
    tell: () => { restoring = false; tell(); },
    // What is drawn; a change of the settings as by hand, and what is looked at: for the lessons and the card in full.
    state: () => drawn, change, focus: setFocus,
    asked: () => [focus, window.steer2edit.watched?.() || ''],   // which component that card is about, on which text
    isAtRest: () => !timer && !noting && document.body.dataset.studio === String(made),   // drawn, and told to the page
    // The same place with one component alone: what it does by itself.
    alone: told => focus < 0 ? told : {...told, file: null, settings: keepOnly(facts, history.now.settings, focus)},
  };
  restore();
  window.addEventListener('hashchange', restore);
};

/** A fragment alone would be read from the page's base, and lose what stands behind the "?". */
const inPage = hash => `${window.location.pathname}${window.location.search}${hash}`;

/** The component with the largest |lambda|, or the largest |g|: something to look at from the start. */
const strongest = (facts, {lam}) => {
  const values = lam.some(one => one !== 0) ? lam : facts.g;
  let best = -1;
  for (let i = 0; i < values.length; i++) if (best < 0 || Math.abs(values[i]) > Math.abs(values[best])) best = i;
  return best;
};

/** The pictures of heads and neurons; of neurons, which are many, first the ranked dots and on request the map. */
const picturesIn = (root, {onPick, onFocus}) => {
  const options = (kind, label) => ({kind, label, height: HEIGHT, onPick, onFocus});
  const heads = make('div', {id: 'heads'}), ranked = make('div', {id: 'neurons-ranked'}), map = make('div', {id: 'neurons', hidden: true});
  const views = make('div', {className: 'segments', role: 'group', 'aria-label': 'How neurons are shown'},
    ...[['ranked', 'Ranked'], ['map', 'By layer']].map(([view, text]) => {
      const one = make('button', {type: 'button', textContent: text, 'aria-pressed': String(view === 'ranked'), onclick: () => turn(view)});
      one.dataset.view = view;
      return one;
    }));
  root.append(make('div', {className: 'picture'}, heads), make('div', {className: 'picture'}, views, ranked, map));
  const all = [heatmap(heads, options('heads', 'Attention heads')), dots(ranked, options('neurons', 'MLP neurons')), heatmap(map, options('neurons', 'MLP neurons'))];
  const kinds = ['heads', 'neurons', 'neurons'];
  const turn = view => {
    for (const one of views.children) one.setAttribute('aria-pressed', String(one.dataset.view === view));
    ranked.hidden = view !== 'ranked';
    map.hidden = view === 'ranked';
    if (latest) show(latest);
  };
  let latest = null;
  const hidden = n => n === 1 ? ranked.hidden : n === 2 ? map.hidden : false;
  const load = (facts, caption) => all.forEach((picture, n) => picture.load({
    ...gridOf(facts, kinds[n]), nameOf: i => nameOf(facts, i), layerOf: i => layerOf(facts, i), kindOf: i => kindOf(facts, i),
    title: kinds[n] === 'heads' ? 'Attention heads' : 'MLP neurons', chance: randomLevel(facts), g: facts.g, caption,
  }));
  const show = edit => { latest = edit; all.forEach((picture, n) => { if (!hidden(n)) picture.show(edit); }); };
  return {load, show};
};

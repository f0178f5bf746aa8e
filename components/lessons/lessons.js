// The lessons of the page: the menu, the address, the language, and which lesson is open. Everything else is in the
// modules beside it.

import {make} from '../studio/dom.js';
import {lessonCard} from './card.js';
import {cost} from './cost.js';
import {direction} from './direction.js';
import {fooled} from './fooled.js';
import {menu} from './menu.js';
import {play, progress} from './player.js';
import {rooms} from './room.js';
import {look, place} from './sight.js';
import {sparse} from './sparse.js';
import {words} from './words.js';
import {writers} from './writers.js';

const LESSONS = [direction, writers, sparse, cost, {...fooled, last: true}];
const LANGUAGE = 'steer2edit language';
const WAIT_MS = 100;
const OPEN_LIST = '[aria-expanded=true][role=combobox], [role=listbox] [role=option]';   // which Escape closes

const address = () => new URL(window.location.href);
const setAddress = changes => {
  const next = address();
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.searchParams.set(name, value); else next.searchParams.delete(name);
  }
  window.history.replaceState(null, '', `${next.pathname}${next.search}${next.hash}`);
};
const isReady = () => new Promise(next => {
  const again = () => { if (look()?.atRest) next(); else setTimeout(again, WAIT_MS); };
  again();
});

/** Starts the lessons; `keep` of what it promises loads all languages, for a page that shall need no network. */
export const start = async ({root, server, languages}) => {
  let say = null, lesson = null, playing = null, turn = 0;
  const room = rooms(server);
  const card = lessonCard(root, {onLeave: () => leave()});
  const menuRoot = make('div');
  root.prepend(menuRoot);

  const catalogues = {};
  const catalogue = async language =>
    catalogues[language] ??= await (await fetch(new URL(`${language}.json`, import.meta.url))).json();
  const speak = async language => {
    say = words(language, await catalogue(language));
    try { sessionStorage.setItem(LANGUAGE, language); } catch { /* asked again next time */ }
    drawMenu();
    playing?.redraw();
  };
  const firstLanguage = () => {
    let kept = null;
    try { kept = sessionStorage.getItem(LANGUAGE); } catch { /* nothing is kept */ }
    const wanted = [address().searchParams.get('lang'), kept, ...navigator.languages.map(one => one.slice(0, 2)), 'en'];
    return wanted.find(one => one in languages);
  };

  const open = async number => {
    const mine = ++turn;
    playing?.end();
    playing = null;
    lesson = LESSONS[number - 1];
    setAddress({lesson: number, room: room.now()?.code});
    const shown = {say, name: say.say(`lessons.${lesson.key}.title`), kind: 'claim', position: 1, many: lesson.steps.length};
    card.show({...shown, text: say.say('ui.loading')});
    await isReady();
    const about = await server.about(place());
    if (mine !== turn) return;
    if (about.error || about.measure === 'none') {
      card.show({...shown, text: about.error || say.say('ui.none')});
      card.focus();
      return;
    }
    playing = play({
      lesson, say: () => say, about, card, room, onEnd: leave,
      onNext: again => { if (again) playing.restart(); open(again ? number : number + 1); },
    });
    drawMenu();
  };
  const leave = () => {
    turn++;
    playing?.end();
    playing = null;
    card.hide();
    setAddress({lesson: null, room: null});
    drawMenu();
    menuRoot.querySelectorAll('.lesson-entry')[LESSONS.indexOf(lesson)]?.focus();
    lesson = null;
  };
  const drawMenu = () => menu(menuRoot, {
    say, languages, room, open, speak,
    entries: LESSONS.map(one => ({key: one.key, at: progress(one), many: one.steps.length})),
    teach: async number => {
      const answer = await room.open(number);
      drawMenu();
      if (!answer.error) open(number);
      return answer.error;
    },
    join: async (code, number) => {
      room.join(code);
      const answer = await server.look({code, step: 'join'});
      if (answer.error) { room.leave(); return answer.error; }
      open(number || answer.lesson);
      return '';
    },
    leaveRoom: () => { room.leave(); setAddress({room: null}); drawMenu(); },
  });

  document.addEventListener('keydown', event => {
    if (event.key === 'Escape' && lesson && !event.defaultPrevented && !document.querySelector(OPEN_LIST)) leave();
  });
  document.addEventListener('click', event => {
    const link = event.target.closest?.('a.learn');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(1);
  });

  await speak(firstLanguage());
  const {searchParams} = address(), number = Math.trunc(+searchParams.get('lesson')), code = searchParams.get('room');
  if (code && room.offered) room.join(code.toUpperCase());
  if (number >= 1 && number <= LESSONS.length) open(number);
  return {keep: () => Promise.all(Object.keys(languages).map(catalogue))};
};

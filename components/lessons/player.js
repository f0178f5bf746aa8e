// Walks through a lesson: draws a step, waits for the person's own action, notes what was measured, goes on. Knows the
// kinds of steps (claim, predict, look, act, conclude, question, play) and no lesson in particular.

import {kindOf, nameOf, pairOf, layerOf} from '../studio/facts.js';
import * as page from './sight.js';
import {roomCard} from './room_card.js';

const SETTLED_MS = 450;   // an action counts once nothing has moved for so long
const HANDS_ON = ['look', 'act', 'play'];
const OWN_PACE = ['claim', 'play'];   // the steps at which the page is the person's own
const ASK = '#ask-eight', ASKING = [ASK, '#alone'];   // what brings judged answers

/** Progress of a lesson in this tab. */
const KEPT = 'steer2edit lesson';
const read = key => { try { return JSON.parse(sessionStorage.getItem(`${KEPT} ${key}`)); } catch { return null; } };
const write = (key, value) => {
  try { sessionStorage.setItem(`${KEPT} ${key}`, JSON.stringify(value)); } catch { /* not kept */ }
};
export const progress = lesson => read(lesson.key)?.at ?? 0;

/** Starts or resumes a lesson; gives {redraw, end}. `say()` are the words of the language chosen now. */
export const play = ({lesson, say, about, card, room, onEnd, onNext}) => {
  const {steps} = lesson, here = page.look().facts.key, kept = read(lesson.key);
  const resumed = kept && kept.here === here && kept.at < steps.length ? kept : null;
  let at = resumed?.at ?? 0, before = null, timer = 0, endRoom = () => {}, feedback = '', right = false, moved = false, pressed = false;
  const notes = resumed?.notes ?? {}, chosen = resumed?.chosen ?? {};
  // Answers come when the lesson asks for them: else the page would show a result before anybody has predicted it.
  const followed = page.look().ticked('follow');
  let asked = at > steps.findIndex(step => step.target === ASK);

  // ---- words ---------------------------------------------------------------------------------------------------------

  const named = i => {
    const {facts} = page.look(), name = nameOf(facts, i), kind = kindOf(facts, i).slice(0, -1), [, index] = pairOf(facts, i);
    const layer = layerOf(facts, i);
    return name === `${kind} ${index}` ? say().say(`ui.${kind}`, {index, layer}) : `${name} (${layer})`;
  };
  const said = column => about.measure === 'length' ? say().say('ui.tokens', {tokens: say().number(Math.round(column.tokens))})
    : say().say('ui.count', {count: say().number(column.count), total: say().number(column.total)});
  const context = () => ({now: page.look(), notes, about, say: say(), said, named, page});
  const named_ = step => `lessons.${lesson.key}.${step.key}`;
  const values = step => ({
    title: about.title, positive: about.positive, negative: about.negative,
    ask: page.wordOn('ask-eight'), alone: page.wordOn('alone'), extract: page.wordOn('extract'), prompt: page.look().prompt,
    ...(step.values?.(context()) ?? {}),
  });
  /** A text of a step in the variant that fits: by what came out, or where length is the behaviour. */
  const told = (step, part) => {
    const wanted = [step.variant?.(context()), about.measure === 'length' ? 'length' : ''].filter(Boolean);
    const name = wanted.map(one => `${named_(step)}.${part}_${one}`).find(say().has) ?? `${named_(step)}.${part}`;
    return say().say(name, values(step));
  };
  const optionText = (step, value) => {
    if (step.option) return step.option(context(), value);
    if (/^\d+$/.test(value)) return say().number(+value);
    const name = `${named_(step)}.options.${value}`, length = `${named_(step)}.options_length.${value}`;
    return say().say(about.measure === 'length' && say().has(length) ? length : name, values(step));
  };

  // ---- steps ---------------------------------------------------------------------------------------------------------

  const enter = (next, settle = true) => {
    endRoom();
    endRoom = () => {};
    clearTimeout(timer);
    timer = 0;
    at = next;
    feedback = '';
    right = false;
    pressed = false;
    const step = steps[at];
    write(lesson.key, {at, notes, chosen, here});
    page.tick('follow', followed && OWN_PACE.includes(step.kind));
    step.enter?.(context());
    before = page.look();
    draw();
    if (settle) guide(step);
  };
  const guide = step => {
    const takesFocus = Boolean(step.target) && HANDS_ON.includes(step.kind);
    const found = step.target ? page.pointAt(step.target, {focus: step.focus, takesFocus}) : page.pointNowhere();
    if (!takesFocus || !found) card.focus();
  };
  const forth = () => enter(at + 1);
  const back = () => enter(Math.max(0, at - 1));

  const conclusion = step => {
    const predicted = chosen[step.of], truth = step.truth(context()), asked = steps.find(one => one.key === step.of);
    if (predicted === undefined) return [told(step, 'text')].flat();   // the question is another one by now
    const isRight = (step.right ?? ((one, other) => one === other))(predicted, truth);
    const words = {predicted: optionText(asked, predicted), truth: optionText(asked, truth)};
    return [say().say(isRight ? predicted === truth ? 'ui.right' : 'ui.near' : 'ui.wrong', words), ...[told(step, 'text')].flat()];
  };
  const draw = () => {
    const step = steps[at], words = say();
    page.veil(asked || moved ? '' : words.say('ui.veil', {ask: page.wordOn('ask-eight')}));
    const shared = {
      say: words, name: words.say(`lessons.${lesson.key}.title`), kind: step.kind, note: feedback,
      position: at + 1, many: steps.length,
    };
    if (moved) {
      const again = {label: words.say('ui.again'), act: () => onNext(lesson)};
      card.show({...shared, kind: 'claim', text: words.say('ui.moved'), buttons: [again]});
      return;
    }
    const earlier = at > 0 ? [{label: words.say('ui.back'), act: back, plain: true}] : [];
    const next = {label: words.say('ui.next'), act: forth};
    if (step.kind === 'predict') {
      const options = step.options(context());
      const choices = options.map(one => optionText(step, one));
      card.show({...shared, text: told(step, 'text'), choices, choose: n => predict(step, options, n), buttons: earlier});
    } else if (step.kind === 'question') {
      const options = step.options(context());
      card.show({...shared, text: told(step, 'text'), choices: right ? [] : options.map(one => optionText(step, one)),
        choose: n => answer(step, options[n]), buttons: right ? [next, ...earlier] : earlier});
    } else if (step.kind === 'conclude') {
      const retry = step.retry?.(context()), another = retry && {label: words.say('ui.another'), act: () => askAnother(step, retry)};
      card.show({...shared, text: conclusion(step), buttons: [next, ...(another ? [another] : []), ...earlier].map((one, n) => ({...one, plain: n > 0}))});
    } else if (step.kind === 'play') {
      card.show({...shared, text: told(step, 'text'), buttons: [
        {label: words.say(lesson.last ? 'ui.end' : 'ui.next_lesson'), act: () => { finish(); lesson.last ? onEnd() : onNext(); }},
        {label: words.say('ui.stay'), act: () => { finish(); onEnd(); }, plain: true},
      ].slice(0, lesson.last ? 1 : 2)});
    } else if (step.kind === 'claim') {
      card.show({...shared, text: told(step, 'text'), buttons: [{label: words.say('ui.begin'), act: begin}],
        hint: page.look().history.past.length ? words.say('ui.undo') : ''});
    } else {
      card.show({...shared, text: told(step, 'text'), buttons: [
        {label: words.say('ui.where'), act: () => guide(step), plain: true}, ...earlier,
      ]});
    }
  };
  const begin = () => {
    page.stage(lesson.settings(page.look().facts), about);
    forth();
  };
  /** Back to a step that asks, with the next of the behaviour's own questions; nothing was predicted of that one. */
  const askAnother = (step, key) => {
    const {prompts} = about, now = prompts.indexOf(page.look().prompt);
    delete chosen[step.of];
    page.ask(prompts[(now + 1) % prompts.length]);
    enter(steps.findIndex(one => one.key === key));
  };
  const finish = () => write(lesson.key, {at: steps.length, notes: {}, chosen: {}, here});

  const predict = (step, options, n) => {
    chosen[step.key] = options[n];
    if (!room.now()) { forth(); return; }
    write(lesson.key, {at, notes, chosen, here});
    endRoom = roomCard(card.body, {
      say: say(), room, step: `${lesson.key}.${step.key}`, mine: n, next: forth, announce: card.announce,
      options: options.map(one => optionText(step, one)),
    });
    card.focus();
  };
  const answer = (step, value) => {
    right = value === step.answer(context());
    feedback = [told(step, right ? 'right' : 'wrong')].flat().join(' ');
    draw();
    card.announce(feedback.replaceAll('*', ''));
    card.focus();
  };

  // ---- what the person does ------------------------------------------------------------------------------------------

  const check = () => {
    const step = steps[at], now = page.look();
    if (!now || moved && now.facts.key !== here) return;
    if (moved) { moved = false; draw(); guide(step); return; }   // back where the lesson was
    if (now.facts.key !== here && step.kind !== 'play') { moved = true; page.pointNowhere(); draw(); return; }
    if (ASKING.includes(step.target) && !pressed) return;   // answers that were still on their way are not the person's own
    if (!['look', 'act'].includes(step.kind) || timer || !step.done(now, before, context())) return;
    timer = setTimeout(() => {   // nothing tells when a dial has come to rest, so it is looked at again
      timer = 0;
      const latest = page.look();
      if (!latest.atRest || !step.done(latest, before, context())) { check(); return; }
      const found = step.note?.(latest);
      if (found !== undefined) notes[step.key] = found;
      if (step.target === ASK) page.renewTexts();
      forth();
    }, SETTLED_MS);
  };
  const unwatch = page.watch(check), unhear = page.whenAsked(() => { asked = true; pressed = true; page.veil(''); });
  enter(at);
  return {
    redraw: draw, restart: () => { moved = false; write(lesson.key, null); },
    end: () => {
      unwatch();
      unhear();
      endRoom();
      clearTimeout(timer);
      page.pointNowhere();
      page.veil('');
      page.tick('follow', followed);
      card.hide();
    },
  };
};

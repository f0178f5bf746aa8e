// When the model in the tab writes: both texts after every move, the latest that was wanted as soon as the one before is done;
// eight answers a side once the dials rest. Knows the model, the data and the widgets through functions; no dial, no field.

import {ORIGINAL, edited, netRight, placebo, steered} from './edits.js';
import {N_ROLLS, USUAL_TEMPERATURE, columnsValue, editedTitle, placeboTitle, rollsValue} from './asking.js';

/**
 * {texts(place), rolls(place), stopTexts(), stopRolls(), isWriting()} for a page with a studio; `place` is the studio's value.
 * Both promise their end. The page gives: `model`
 * of tab_model.js; `data` with behavior(place), which resolves with {known, vectors, positive, prompts, rows, other} and, if it has them, {swapped, system}, and
 * editOf(place), with {right, lam}; the `words` of texts.py; `question()`, which reads the fields or throws an Error with a
 * sentence; and `show` with texts(value) and rolls(value), in the form of the widgets of the app, and
 * failed(sentence, what).
 */
export const writer = ({model, data, words, question, show}) => {
  let busy = false, now = null, wanted = null, rolling = null, writing = Promise.resolve();

  /** What is compared: titles and variants. */
  const sides = async (place, {isSteered, gamma, isPrompted, isPlacebo, seed}) => {
    const {known, vectors, system} = await data.behavior(place), edit = await data.editOf(place), rights = [{vectors, right: edit.right}];
    if (place.under) {
      const {weight} = place.under, below = await data.editOf(place.under);
      rights.push({vectors: (await data.behavior(place.under)).vectors, right: below.right.map(value => weight * value)});
    }
    const titles = [words.ORIGINAL_COLUMN, editedTitle(words, known, edit, place.under)], variants = [ORIGINAL, edited(rights)];
    if (isSteered) { titles.push(`${words.STEERED_COLUMN}, γ = ${gamma}`); variants.push(steered(vectors, gamma)); }
    if (isPrompted) {
      if (!system) throw new Error(words.NO_SYSTEM_PROMPT);
      titles.push(words.PROMPTED_COLUMN);
      variants.push({...ORIGINAL, turn: system});
    }
    if (isPlacebo && edit.lam.some(Boolean)) {
      const lam = placebo(known, edit.lam, seed);
      titles.push(placeboTitle(words, known, lam));
      variants.push(edited([{vectors, right: netRight(known, vectors, lam)}]));
    }
    return {titles, variants};
  };

  const writeOnce = async place => {
    const asked = question(), {titles, variants} = await sides(place, asked), began = performance.now();
    const value = (answers, going) => columnsValue(words, asked, titles, answers, {busy: going, edit: place.made});
    const run = now = model.compare(asked.prompt, variants, asked, answers => show.texts(value(answers, true)));
    const answers = await run.answers.catch(error => { if (error) throw error; return null; });   // null: it was stopped
    if (answers) show.texts({...value(answers, false), milliseconds: performance.now() - began});
  };
  const write = async () => {
    while (wanted) {
      const place = wanted;
      wanted = null;
      await writeOnce(place).catch(error => show.failed(error.message, 'texts'));
    }
    busy = false;
  };
  const texts = place => {
    wanted = place;
    if (!busy) {
      busy = true;
      writing = write();
    }
    return writing;
  };
  const stopTexts = () => {
    wanted = null;
    now?.stop();
  };

  const stop = () => { rolling?.stop(); rolling = null; };
  const rolls = async place => {
    stop();
    const mine = rolling = {stop: () => {}};
    await writing;   // the two texts come first
    if (rolling !== mine) return;
    try {
      const fields = question(), asked = {...fields, temperature: fields.temperature || USUAL_TEMPERATURE, count: N_ROLLS};
      const {titles, variants} = await sides(place, asked), behavior = await data.behavior(place);
      if (rolling !== mine) return;
      const began = performance.now();
      show.rolls(rollsValue(words, behavior, asked, titles, [], true));
      const run = rolling = model.rolls(asked.prompt, variants, asked);
      const answers = await run.answers.catch(error => { if (error) throw error; return null; });   // null: it was stopped
      if (answers && rolling === run) show.rolls({...rollsValue(words, behavior, asked, titles, answers, false), milliseconds: performance.now() - began});
    } catch (error) { show.failed(error.message, 'rolls'); }
  };

  return {texts, rolls, stopTexts, stopRolls: stop, isWriting: () => busy};
};

// What the answers come to, as the widgets of texts and of eight answers draw it. components/compare/handlers.py and rolls.py
// are the authority for the words; this file knows values and words alone, and no element.

import {plural} from '../studio/dom.js';
import {changedShare, differences} from './differences.js';
import {judge, shows} from './judge.js';

const EMPTY = '(empty answer)', SHOWN_CHARS = 50;
export const N_ROLLS = 8, USUAL_TEMPERATURE = 1;

/** To a whole number as Python rounds it: halves to the even one. */
const rounded = number => {
  const below = Math.floor(number);
  return number - below === 0.5 ? below + below % 2 : Math.round(number);
};
/** The words of a Python template: {name}, {name:g}, {name:.0f}. */
const filled = (template, values) => template.replace(/\{(\w+)(?::([^}]+))?\}/g, (_, name, format) =>
  String(format === '.0f' ? rounded(values[name]) : values[name]));

const short = prompt => {
  const line = prompt.trim().split(/\s+/).join(' '), letters = [...line];
  return letters.length <= SHOWN_CHARS ? line : `${letters.slice(0, SHOWN_CHARS - 1).join('')}…`;
};
const wordsOf = text => plural(text.split(/\s+/).filter(Boolean).length, 'word');

/** "12 heads and 40 neurons": of what strengths change. */
const counted = (facts, lam) => {
  const parts = ['heads', 'neurons'].map(kind => {
    const count = facts.kinds[kind].sites.reduce((sum, site) => {
      for (let i = facts.offset[site], end = i + facts.sites[site].n; i < end; i++) sum += lam[i] !== 0;
      return sum;
    }, 0);
    return count ? plural(count, kind.slice(0, -1)) : null;
  }).filter(Boolean);
  return parts.join(' and ') || 'nothing';
};
export const editedTitle = (words, facts, {lam}, under) =>
  `${words.EDITED_COLUMN}, ${counted(facts, lam)}${under ? `, on top of ${under.title}` : ''}`;
export const placeboTitle = (words, facts, lam) => `${words.PLACEBO_COLUMN}, ${counted(facts, lam)}`;

const askedWords = (words, {prompt, temperature, seed}) =>
  filled(words.ASKED, {prompt: short(prompt), dice: temperature ? `temperature ${temperature}, seed ${seed}` : 'temperature 0'});

/** The value of the text columns; `answers` is one list of answers a column, perhaps still growing. */
export const columnsValue = (words, question, titles, answers, {busy, edit}) => {
  const texts = titles.map((_, i) => answers[i]?.[0]?.text ?? '');
  const columns = titles.map((title, i) => {
    if (busy) return {title, note: 'writing …', segments: [[texts[i], '']]};
    if (i === 0) return {title, note: wordsOf(texts[0]), segments: [[texts[0] || EMPTY, '']]};
    const note = texts[i] === texts[0] ? 'same text' : `${wordsOf(texts[i])}, ${rounded(100 * changedShare(texts[0], texts[i]))}% differ`;
    return {title, note, segments: texts[i] ? differences(texts[0], texts[i]) : [[EMPTY, '']]};
  });
  return {busy, edit, asked: askedWords(words, question), columns};
};

/** The row by which answers to a prompt are judged; null if nothing says how. */
const rowOf = (behavior, prompt) => behavior.rows[behavior.prompts[prompt] ?? behavior.other] ?? null;

const told = (words, wanted, row, judged) => {
  const total = judged.length;
  if (!row) return filled(words.ROLLS_UNJUDGED, {count: new Set(judged.map(one => one.text)).size, total});
  if (row.kind === 'length') return filled(words.ROLLS_TOKENS, {tokens: judged.reduce((sum, one) => sum + one.tokens, 0) / Math.max(1, total)});
  return filled(words.ROLLS_COUNT, {wanted, count: judged.filter(one => one.wanted).length, total});
};

/** The value of the eight answers a side, each with its verdict. */
export const rollsValue = (words, behavior, question, titles, answers, busy) => {
  const row = rowOf(behavior, question.prompt), isLength = row?.kind === 'length';
  const isUtility = behavior.utility.includes(question.prompt), wanted = isUtility ? words.ROLLS_GOOD : behavior.positive;
  const isTurned = Boolean(behavior.swapped) && !isUtility;   // its rows say what the side shows that is now unwanted
  const entry = ({text, tokens}) => {
    const verdict = row && judge(row, text, tokens);
    return {
      text: text.trim() ? text : EMPTY, wanted: verdict && !isLength ? verdict.flaw === null && shows(verdict) !== isTurned : null,
      matched: verdict && !isLength ? verdict.matched : '', flaw: verdict?.flaw ?? '', tokens,
    };
  };
  const columns = titles.map((title, i) => {
    const judged = (answers[i] ?? []).map(entry);
    return {title, told: busy ? '' : told(words, wanted, row, judged), rolls: judged};
  });
  const asked = {count: N_ROLLS, prompt: short(question.prompt), temperature: question.temperature, seed: question.seed};
  return {busy, asked: filled(words.ROLLS_ASKED, asked), columns};
};

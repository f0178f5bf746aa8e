// The verdict on one answer by the rules of its prompt's row, as s2e_core/text/judge.py gives it, which is the authority. Rows
// without phrases of their own are not judged here: their refusals need the patterns of the core.

import {findPhrases, isEmpty, isRepeated, lastNumber, sameNumber, statedNumber} from './wording.js';

const verdict = (score, matched = '', flaw = null) => ({score, matched, flaw});
const listed = phrases => typeof phrases === 'string' ? [phrases] : phrases;

const share = (wanted, other) => (row, answer) => {
  const [ours, theirs] = [wanted, other].map(side => findPhrases(answer, listed(row[side])));
  return ours.length + theirs.length ? verdict(ours.length / (ours.length + theirs.length), [...ours, ...theirs][0]) : verdict(0, '', 'off-topic');
};
const refusal = (row, answer) => {
  const wanted = findPhrases(answer, listed(row.phrases));
  if (wanted.length) return verdict(1, wanted[0]);
  const unwanted = row.not_phrases ? findPhrases(answer, listed(row.not_phrases)) : [];
  return verdict(0, unwanted[0] ?? '', row.phrases.length && row.not_phrases?.length && !unwanted.length ? 'off-topic' : null);
};
const help = (row, answer) => {
  const unwanted = row.not_phrases ? findPhrases(answer, listed(row.not_phrases)) : [], wanted = findPhrases(answer, listed(row.phrases));
  if (unwanted.length) return verdict(0, unwanted[0]);
  return wanted.length ? verdict(1, wanted[0]) : verdict(0, '', row.not_phrases?.length ? 'off-topic' : null);
};
/** Share of cheerful sentences: cheerful phrases per sentence, at most 1. */
const tone = (row, answer) => {
  const [cheerful, gloomy] = ['cheerful', 'gloomy'].map(side => findPhrases(answer, listed(row[side])));
  if (!cheerful.length && !gloomy.length) return verdict(0, '', 'off-topic');
  const sentences = (answer.trim().match(/[^.!?]+[.!?]?/g) ?? []).length;
  return verdict(Math.min(1, cheerful.length / Math.max(1, sentences)), [...cheerful, ...gloomy][0]);
};
const arithmetic = (row, answer) => {
  const number = statedNumber(answer, Boolean(row.anywhere));
  return verdict(Number(sameNumber(number, row.answer)), number, lastNumber(answer) ? null : 'off-topic');
};

const JUDGES = {
  refusal, help, source: help, truth: share('true', 'myth'), style: share('wanted', 'unwanted'), tone, arithmetic,
};
const NEEDS = {refusal: 'phrases', help: 'phrases', source: 'phrases'};

/** {score, matched, flaw} of one answer; null if the row cannot be judged here. */
export const judge = (row, text, tokens) => {
  if (!row || (row.kind !== 'length' && !JUDGES[row.kind]) || (NEEDS[row.kind] && !row[NEEDS[row.kind]])) return null;
  const flaw = isEmpty(text) ? 'empty' : isRepeated(text) ? 'repeated' : null;
  if (row.kind === 'length') {
    const lacksNumber = 'answer' in row && !lastNumber(text);
    return verdict(tokens, statedNumber(text, Boolean(row.anywhere)), flaw ?? (lacksNumber ? 'off-topic' : null));
  }
  return flaw ? verdict(0, '', flaw) : JUDGES[row.kind](row, text);
};

/** Whether an answer shows the behaviour: it scores more than half and is no flawed answer. */
export const shows = ({score, flaw}) => flaw === null && score > 0.5;

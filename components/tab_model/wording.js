// Text analysis by words alone, as s2e_core/text/wording.py does it, which is the authority: phrases, a stated number, endless
// repetition. The bundled model writes no think tags, so nothing here looks for them.

const MIN_ROUNDS = 3, MAX_UNIT = 60, MIN_WORDS = 40, MIN_VARIETY = 0.2, LONG_WORD = 24;
const LETTER = '\\p{L}\\p{N}_';
const NO_SPACES = '\\u3040-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7af';   // scripts in which every character is a word
const WORD = new RegExp(`[${NO_SPACES}]|(?:(?![${NO_SPACES}])[${LETTER}])+`, 'gu');
const NUMBER = '(-?(?:\\d{1,3}(?:,\\d{3})+(?!\\d)|\\d+)(?:\\.\\d+)?)(?![\\p{L}\\p{N}_])';
const FILLING = '[\\s*_$€£¥\\\\({\\[]*';
const STATED = new RegExp(
  `(?<![${LETTER}])[Aa][Nn][Ss][Ww][Ee][Rr](?:\\s+[Ii][Ss]|\\s*[:=])(?:\\s+(?:[Aa]bout|[Aa]pproximately|[Rr]oughly|[Ee]xactly))?[:=]?${FILLING}(?:\\\\boxed)?${FILLING}${NUMBER}`
  + `|####${FILLING}${NUMBER}|\\\\boxed${FILLING}${NUMBER}`, 'gu');
const ANY_NUMBER = new RegExp(`(?<![${LETTER}.])${NUMBER}`, 'gu');

const plainSigns = text => text.replace(/[’‘ʼ＇]/g, "'").replace(/[−‑]/g, '-');
const normal = text => plainSigns(text).toLowerCase().trim().split(/\s+/).join(' ');
const escaped = text => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');

/** The phrases that occur as whole words, in the order of their occurrence. */
export const findPhrases = (text, phrases) => {
  const words = normal(text), found = [];
  for (const phrase of phrases) {
    const key = normal(phrase);
    if (!key || !words.includes(key)) continue;
    const match = new RegExp(`(?<![${LETTER}])${escaped(key)}(?![${LETTER}])`, 'u').exec(words);
    if (match) found.push([match.index, phrase]);
  }
  return found.sort((a, b) => a[0] - b[0]).map(([, phrase]) => phrase);
};

/** The last number given as the answer, or with `anywhere` the last of a text that gives none; '' if there is none. */
export const statedNumber = (text, anywhere = false) => {
  const last = [...plainSigns(text).matchAll(STATED)].at(-1);
  return last ? last.slice(1).find(number => number !== undefined) : anywhere ? lastNumber(text) : '';
};
export const lastNumber = text => [...plainSigns(text).matchAll(ANY_NUMBER)].at(-1)?.[1] ?? '';
export const sameNumber = (text, number) => {
  const [one, other] = [text, String(number)].map(it => plainSigns(it).trim().replaceAll(',', ''));
  return [one, other].every(it => /^-?\d+(?:\.\d+)?$/.test(it)) && Number(one) === Number(other);
};

export const isEmpty = text => !/[\p{L}\p{N}]/u.test(text);

/** Whether more than half of a text repeats a few words or characters. */
export const isRepeated = text => {
  const words = text.toLowerCase().match(WORD) ?? [];
  return loops(words) || lacksVariety(words) || words.some(word => [...word].length >= LONG_WORD && loops([...word]));
};
const loops = words => {
  const n = words.length;
  if (n < MIN_ROUNDS || 3 * new Set(words).size > 2 * n) return false;
  for (let unit = 1; unit <= Math.min(MAX_UNIT, Math.floor(n / MIN_ROUNDS)); unit++) if (2 * longestLoop(words, unit) > n) return true;
  return false;
};
const longestLoop = (words, unit) => {
  let longest = 0, run = 0;
  for (let i = unit; i < words.length; i++) {
    run = words[i] === words[i - unit] ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest >= (MIN_ROUNDS - 1) * unit ? longest + unit : 0;
};
const lacksVariety = words => {
  if (words.length < MIN_WORDS) return false;
  const runs = new Set(words.slice(2).map((word, i) => `${words[i]} ${words[i + 1]} ${word}`));
  return runs.size < MIN_VARIETY * (words.length - 2);
};

// Which words of a text differ from another text, as components/compare/differences.py marks them, which is the authority:
// the longest common runs of words first, as difflib finds them.

const WORD = /\s+|[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*|./gsu;
const MAX_WORDS = 2000;

const split = text => text.match(WORD) ?? [];
const words = text => split(text).filter(word => word.trim());

/** Runs that both lists have, [start in one, start in the other, length], in order. */
const matchingBlocks = (one, other) => {
  const places = new Map();
  other.forEach((word, j) => { if (!places.has(word)) places.set(word, []); places.get(word).push(j); });
  const longest = (from, to, first, last) => {
    let best = [from, first, 0], ends = new Map();
    for (let i = from; i < to; i++) {
      const next = new Map();
      for (const j of places.get(one[i]) ?? []) {
        if (j < first) continue;
        if (j >= last) break;
        const size = (ends.get(j - 1) ?? 0) + 1;
        next.set(j, size);
        if (size > best[2]) best = [i - size + 1, j - size + 1, size];
      }
      ends = next;
    }
    return best;
  };
  const open = [[0, one.length, 0, other.length]], found = [];
  while (open.length) {
    const [from, to, first, last] = open.pop(), [i, j, size] = longest(from, to, first, last);
    if (!size) continue;
    found.push([i, j, size]);
    if (from < i && first < j) open.push([from, i, first, j]);
    if (i + size < to && j + size < last) open.push([i + size, to, j + size, last]);
  }
  return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
};

/** `text` as [stretch, mark]: "new" where the reference has other words, "gone" for words that only it has. */
export const differences = (reference, text) => {
  const before = words(reference), after = split(text), places = after.flatMap((word, i) => word.trim() ? [i] : []);
  if (before.length + places.length > 2 * MAX_WORDS) return [[text, text === reference ? '' : 'new']];
  const marks = after.map(() => ''), gone = new Map();
  let i = 0, j = 0;
  for (const [from, to, size] of [...matchingBlocks(before, places.map(place => after[place])), [before.length, places.length, 0]]) {
    if (j < to) marks.fill('new', places[j], places[to - 1] + 1);
    else if (i < from) gone.set(j < places.length ? places[j] : after.length, before.slice(i, from).join(' '));
    [i, j] = [from + size, to + size];
  }
  return joined(after, marks, gone);
};

const joined = (after, marks, gone) => {
  const segments = [];
  after.forEach((word, i) => {
    if (gone.has(i)) segments.push([gone.get(i), 'gone']);
    if (segments.at(-1)?.[1] === marks[i]) segments.at(-1)[0] += word; else segments.push([word, marks[i]]);
  });
  return gone.has(after.length) ? [...segments, [gone.get(after.length), 'gone']] : segments;
};

/** Share of the words, of the longer text, that are not in both. */
export const changedShare = (reference, text) => {
  const [before, after] = [words(reference), words(text)], longest = Math.max(before.length, after.length);
  if (!longest) return 0;
  const same = matchingBlocks(before.slice(0, MAX_WORDS), after.slice(0, MAX_WORDS)).reduce((sum, block) => sum + block[2], 0);
  return 1 - same / Math.min(longest, MAX_WORDS);
};

// Byte-level BPE as the tokenizer.json of the bundled model describes it: text to token ids and back. Special tokens are
// found in the text first, as the Python tokenizer does; then a pattern cuts words, and merges join their bytes.

// White space as the Python tokenizer counts it; that of JavaScript has U+FEFF, and lacks U+0085.
const SPACE = '\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const BROKEN = 'The prompt contains a broken Unicode character (an unpaired surrogate). Retype or remove it.';

/** The pattern of a tokenizer.json with classes that mean the same here. */
const patternOf = source => new RegExp(source
  .replaceAll('[^\\s', `[^${SPACE}`).replaceAll('\\s', `[${SPACE}]`).replaceAll('\\S', `[^${SPACE}]`)
  .replaceAll('\\d', '\\p{Nd}'), 'gu');

/** The letter that stands for each byte: itself where it can be seen, else one of those from U+0100 on. */
const byteLetters = () => {
  const seen = byte => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({length: 256}, (_, byte) => String.fromCharCode(seen(byte) ? byte : next++));
};

const escaped = text => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** {encode(text), decode(ids)} of a parsed tokenizer.json. Throws an Error for one of another kind. */
export const tokenizer = ({added_tokens: added, normalizer, pre_tokenizer: pre, model}) => {
  const [split] = pre.pretokenizers ?? [];
  if (model.type !== 'BPE' || normalizer || !split?.pattern?.Regex) throw new Error('This tokenizer is not a byte-level BPE with a pattern.');
  const pattern = patternOf(split.pattern.Regex), letters = byteLetters(), byteOf = new Map(letters.map((letter, byte) => [letter, byte]));
  const vocabulary = new Map(Object.entries(model.vocab)), texts = [];
  for (const [text, id] of vocabulary) texts[id] = text;
  const special = new Map(added.map(({content, id}) => [content, id])), isSpecial = new Set(special.values());
  const atSpecial = new RegExp(`(${[...special.keys()].map(escaped).join('|')})`, 'u');
  const ranks = new Map(model.merges.map((pair, rank) => [pair.join(' '), rank]));
  const known = new Map();   // words recur

  const merged = word => {
    if (model.ignore_merges && vocabulary.has(word)) return [vocabulary.get(word)];
    let parts = [...word];
    for (;;) {
      let best = -1, least = Infinity;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (rank < least) { least = rank; best = i; }
      }
      if (best < 0) return parts.map(part => vocabulary.get(part));
      parts.splice(best, 2, parts[best] + parts[best + 1]);
    }
  };
  const ofWord = word => {
    if (!known.has(word)) known.set(word, merged(Array.from(new TextEncoder().encode(word), byte => letters[byte]).join('')));
    return known.get(word);
  };

  return {
    /** Throws an Error for half of a character pair, which is no text. */
    encode: text => {
      if (!text.isWellFormed()) throw new Error(BROKEN);
      return text.split(atSpecial).flatMap(part => special.has(part) ? [special.get(part)] : (part.match(pattern) ?? []).flatMap(ofWord));
    },
    /** Without special tokens; bytes that are no character become replacement signs. */
    decode: ids => {
      const bytes = ids.filter(id => !isSpecial.has(id)).flatMap(id => Array.from(texts[id] ?? '', letter => byteOf.get(letter)));
      return new TextDecoder('utf-8', {ignoreBOM: true}).decode(Uint8Array.from(bytes));
    },
  };
};

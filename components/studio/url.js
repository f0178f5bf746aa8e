// The place of a tab as a short text: in the address, so that reload, bookmark and Share restore it exactly. A version
// leads; numbers of components are written as ranges. Knows nothing of what the values mean.

const VERSION = 1;
const MOST_COMPONENTS = 1_000_000;   // of one list: a forged address must not fill the memory

const text = value => new TextEncoder().encode(JSON.stringify(value));
const base64 = bytes => btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''))
  .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const unbase64 = letters => Uint8Array.from(atob(letters.replaceAll('-', '+').replaceAll('_', '/')), letter => letter.charCodeAt(0));

/** Pairs (site, index), sorted, as runs [site, first, count]: a thousand neighbours are one entry. */
export const runs = pairs => {
  const found = [];
  for (const [site, index] of pairs) {
    const last = found.at(-1);
    if (last && last[0] === site && last[1] + last[2] === index) last[2]++; else found.push([site, index, 1]);
  }
  return found;
};
export const unruns = found => {
  if (!found.every(run => run.every(Number.isInteger) && run[2] > 0)) throw new TypeError('not a run');
  if (found.reduce((sum, run) => sum + run[2], 0) > MOST_COMPONENTS) throw new RangeError('too many components');
  return found.flatMap(([site, first, count]) => Array.from({length: count}, (_, i) => [site, first + i]));
};

const LISTS = ['only', 'included', 'excluded'];
const packed = settings => ({...settings, ...Object.fromEntries(LISTS.map(name => [name, settings[name] && runs(settings[name])]))});
const unpacked = settings => ({...settings, ...Object.fromEntries(LISTS.map(name => [name, settings[name] && unruns(settings[name])]))});

/** The fragment of an address, with its "#". */
export const fragment = place => `#s${VERSION}=${base64(text({...place, settings: packed(place.settings)}))}`;

/** The place that a fragment names; null where it names none, or was cut off on its way. */
export const fromFragment = hash => {
  const found = /^#s(\d+)=([\w-]+)$/.exec(hash);
  if (!found || +found[1] !== VERSION) return null;
  try {
    const place = JSON.parse(new TextDecoder().decode(unbase64(found[2])));
    return place.settings instanceof Object ? {...place, settings: unpacked(place.settings)} : null;
  } catch {
    return null;
  }
};

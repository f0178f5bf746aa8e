// The colours of the pictures: violet for the behaviour, ochre against it, pale where a component is not edited.
// Turns a value from -1 to 1 into an entry of a table, so that painting a cell is one look-up. Knows no component.

const PALETTES = {  // from "against" over 0 to "for"; neither end looks like praise, and everybody tells them apart
  light: ['#6b3f00', '#b8761a', '#e8c88f', '#efeeec', '#c4b5e6', '#8257c9', '#44148c'],
  dark: ['#ffcf8a', '#d3923a', '#7a5420', '#2b2e35', '#5b4391', '#9a78e0', '#cdb9ff'],
};
const INKS = {
  light: {
    paper: '#ffffff', text: '#27272a', soft: '#52525b', line: '#18181b', grid: '#e4e4e7',
    hatch: '#c4c4cc', faint: '#b0b0b8',
  },
  dark: {
    paper: '#12161c', text: '#e8e8ea', soft: '#b4b4bb', line: '#ffffff', grid: '#2a2f37',
    hatch: '#52525b', faint: '#6a6e78',
  },
};
const PALE = 0.5;       // how much paper is mixed into the colour of a component that is not edited
const LEVELS = 127;     // shades on either side of 0
export const FULL = 256;   // the table has the pale colours first, then the full ones

export const themeOf = () => document.body.classList.contains('dark') ? 'dark' : 'light';
export const clamp = (n, low, high) => Math.min(high, Math.max(low, n));

/** The entry for a value between -1 and 1, which is cut at both ends. */
export const codeOf = (x, full) => ((clamp(x, -1, 1) * LEVELS + LEVELS + 0.5) | 0) + (full ? FULL : 0);

const channels = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
const between = (a, b, t) => a.map((x, i) => Math.round(x + (b[i] - x) * t));
const css = color => `rgb(${color.join(',')})`;
const luminance = color => color.map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
  .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);

const tones = (theme, pale) => PALETTES[theme].map(hex => between(channels(hex), channels(INKS[theme].paper), pale));
const onScale = (list, at) => {
  const place = at * (list.length - 1), below = Math.min(Math.floor(place), list.length - 2);
  return between(list[below], list[below + 1], place - below);
};

const build = theme => {
  const colors = new Array(2 * FULL), packed = new Uint32Array(2 * FULL);
  for (const full of [0, FULL]) {
    const list = tones(theme, full ? 0 : PALE);
    for (let level = 0; level <= 2 * LEVELS; level++) {
      const color = onScale(list, level / (2 * LEVELS));
      colors[full + level] = color;
      packed[full + level] = (255 << 24 | color[2] << 16 | color[1] << 8 | color[0]) >>> 0;
    }
  }
  const inks = INKS[theme], candidates = [inks.text, '#111113', '#ffffff', '#000000'];
  return {
    theme, inks,
    packed,                                   // as the pixels of an ImageData, for machines with the low byte first
    css: code => css(colors[code]),
    /** A colour in which text can be read on an entry; black or white always can. */
    inkOn: code => (code < FULL ? [inks.soft, ...candidates] : candidates)
      .find(hex => contrast(luminance(channels(hex)), luminance(colors[code])) >= 4.5),
    ramp: `linear-gradient(to right, ${tones(theme, 0).map(css).join(',')})`,
    stops: tones(theme, 0).map(css),
  };
};
const built = {};
export const tableOf = theme => built[theme] ||= build(theme);

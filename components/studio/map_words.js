// What the pictures say about a component and about themselves, in words and figures. Knows an extraction's grid and an
// edit; knows no canvas and no element.

import {counted, plural, roughly} from './dom.js';

export const ENDS = {   // the two ends of the colour scale
  g: ['against', 'for the behaviour'],
  lambda: ['weakened', 'amplified'],
  when: ['on harmless texts', 'on the behaviour’s texts'],
};
export const signed = x => (x < 0 ? '−' : '+') + Math.abs(x).toPrecision(3);
/** In a cell: two decimals, and no sign before a zero. */
export const short = x => {
  const size = Math.abs(x) < 9.995 ? Math.abs(x).toFixed(2) : Math.abs(x).toPrecision(3);
  return size === '0.00' ? size : (x < 0 ? '−' : '+') + size;
};
export const one = kind => kind === 'heads' ? 'head' : 'neuron';
const layerOf = (grid, i) => typeof grid.layerOf === 'function' ? grid.layerOf(i) : grid.layerOf[i];
export const fullName = (grid, i) => `layer ${layerOf(grid, i)}, ${grid.nameOf(i)}`;

const BY_HAND = ['', ', added by hand', ', left out by hand'];
const stateOf = (edit, i) => (edit.edited[i] ? 'edited' : 'left as it is') + BY_HAND[edit.hand[i]];

/** The lines of a component's card, as [name, figure]. */
export const figures = (grid, edit, i) => {
  const lines = [['alignment g', signed(grid.g[i])]];
  const band = edit?.chance?.band[i];
  if (band !== undefined) lines.push([Math.abs(grid.g[i]) > band ? 'beyond its band of chance' : 'within its band of chance', `±${band.toPrecision(3)}`]);
  else if (grid.chance) lines.push(['random directions give up to', `±${grid.chance.toPrecision(2)}`]);
  if (!edit) return lines;
  if (edit.edited[i]) {
    lines.push(['strength λ', signed(edit.lam[i])]);
    lines.push(['change of its weight', `${(100 * edit.change[i]).toPrecision(3)} %`]);
    if (edit.on && edit.off) {
      lines.push(['adds on the behaviour’s texts', signed(edit.on[i])]);
      lines.push(['adds on harmless texts', signed(edit.off[i])]);
    }
  }
  return [...lines, ['state', stateOf(edit, i)]];
};

const VERBS = {toggle: 'Flip', include: 'Add', exclude: 'Leave out'};
/** What a range that is being marked would do. */
export const rangeWords = (action, count, kind) => `${VERBS[action]} ${plural(count, one(kind))}`;

/** Spoken after a range was picked. */
export const doneWords = (action, count, kind) =>
  `${action === 'exclude' ? 'Left out' : 'Added'}: ${plural(count, one(kind))}`;

/** Told in the legend while the picture has fewer pixels than components. */
export const crowdWords = (kind, perPixel) => [
  `Each pixel stands for about ${counted(Math.max(2, Math.round(perPixel)))} ${kind} and shows the strongest edited`,
  `one, or the strongest if none is edited. Zoom in to see every ${one(kind)}.`,
].join(' ');

export const keysText = kind => [
  `Arrow keys move, Enter or Space toggles the ${one(kind)}, Shift with arrows marks a range, Enter adds the range,`,
  'Delete leaves out, plus and minus zoom, 0 shows everything, Escape ends.',
].join(' ');

/** Of a kind: how many stand out of their bands of chance, and how many would along a direction of chance. */
export const beyondWords = ({found, count, expected}) =>
  `${counted(found)} of ${counted(count)}, by chance about ${roughly(expected)}`;

/** The entries of the legend after the colour scale: [class, text, whether it applies now]. */
export const legendItems = (kind, {compared, marks, absent = false, outlined = false, chance = null}) => [
  [outlined ? 'full s2e-map-outlined' : 'full', 'edited', compared], ['pale', 'left as it is', compared],
  ...(absent ? [['none', `no ${one(kind)}`, true]] : []),
  ...(chance ? [[...chance, true]] : []),
  ['in', 'added by hand', marks[1]], ['ex', 'left out by hand', marks[2]],
];

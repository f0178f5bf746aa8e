// Which figure colours a component: its alignment, its strength, or how much more the edit adds on the behaviour's
// texts. Plain loops, since they run over every component whenever a dial moves. Knows no colour and no pixel.

/** Writes on minus off into `room`. */
const difference = (on, off, room) => {
  if (on && off) for (let i = 0; i < on.length; i++) room[i] = on[i] - off[i]; else room.fill(0);
  return room;
};

/** The largest magnitude in the grid, of edited components alone if `edited` is given. */
const largestOf = ({cells}, value, edited) => {
  let largest = 0;
  for (let n = 0; n < cells.length; n++) {
    const i = cells[n];
    if (i < 0 || (edited !== null && edited[i] === 0)) continue;
    const size = value[i] < 0 ? -value[i] : value[i];
    if (size > largest) largest = size;
  }
  return largest;
};

const valueOf = (grid, mode, {lam, on, off}) => {
  if (mode === 'g') return grid.g;
  return mode === 'lambda' ? lam : difference(on, off, grid.room ||= new Float32Array(grid.g.length));
};

/** {value, scale}: a component has the colour of value / scale; if `masked`, of 0 unless it is edited. */
export const shading = (grid, edit) => {
  const {mode = 'g', edited = null, hand = null} = edit || {}, masked = mode !== 'g' && edited !== null;
  const value = valueOf(grid, mode, edit || {});
  const largest = masked ? largestOf(grid, value, edited) : grid.largest ??= largestOf(grid, value, null);
  return {mode, value, masked, edited, hand, scale: largest || 1, largest};
};

/** Whether anything was [_, added, left out] by hand. */
export const marksOf = ({cells}, {hand}) => {
  const found = [false, false, false];
  for (let n = 0; n < cells.length; n++) if (cells[n] >= 0 && hand[cells[n]] > 0) found[hand[cells[n]]] = true;
  return found;
};

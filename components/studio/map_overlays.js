// What floats above a picture: the frame around the component pointed at, the range being marked, the ring of the
// component whose card the page shows, and the small card with figures. Knows places in CSS pixels and words.

import {make} from './dom.js';
import {clamp} from './map_colors.js';

/** Lays an element over a rectangle {x, y, w, h} of the stage, or hides it; nothing is thinner than `least`. */
const put = (node, rect, least = 0) => {
  node.hidden = !rect;
  if (!rect) return;
  const w = Math.max(rect.w, least), h = Math.max(rect.h, least);
  const left = rect.x + (rect.w - w) / 2, top = rect.y + (rect.h - h) / 2;
  Object.assign(node.style, {left: `${left}px`, top: `${top}px`, width: `${w}px`, height: `${h}px`});
};

const fillCard = (tip, {name, lines}) => {
  const list = make('dl', {}, ...lines.flatMap(([key, text]) => [make('dt', {}, key), make('dd', {}, text)]));
  tip.replaceChildren(make('strong', {}, name), list);
};
/** Below the mark if there is room, else above it, never beyond the sides. */
const placeCard = (stage, mark, tip) => {
  const middle = mark.offsetLeft + mark.offsetWidth / 2, below = mark.offsetTop + mark.offsetHeight + 8;
  const fits = below + tip.offsetHeight <= stage.offsetHeight || mark.offsetTop < tip.offsetHeight + 8;
  tip.style.left = `${clamp(middle - tip.offsetWidth / 2, 0, Math.max(0, stage.offsetWidth - tip.offsetWidth))}px`;
  tip.style.top = `${fits ? below : mark.offsetTop - tip.offsetHeight - 8}px`;
};

/** Shows {cursor, range, focus} (rectangles or null) and the card {name, lines} (or null). */
export const overlays = ({stage, mark, box, focus, tip}) => ({cursor, range, ring, card, action}) => {
  put(mark, cursor, 6);
  put(box, range);
  put(focus, ring, 8);
  box.dataset.action = action;
  tip.hidden = !card || (mark.hidden && box.hidden);
  if (tip.hidden) return;
  fillCard(tip, card);
  placeCard(stage, mark.hidden ? box : mark, tip);
};

// What a person does with a picture: hover, click, drag, keys, tools, zoom. Reports what was picked and never decides
// what is selected. Knows a picture as rows and columns of numbers:
//   size() [rows, columns], view, look(view), at(event, exact) [row, column] or null, id(cell) a component or -1,
//   rect(a, b) the place of a range in CSS pixels or null, tell(cell) {name, lines}, zooms(factor) for this grid.

import {following, holds, isWhole, moved, span, whole} from './map_frame.js';
import {clamp} from './map_colors.js';
import {overlays} from './map_overlays.js';
import {doneWords, rangeWords} from './map_words.js';

const STEPS = {
  ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-8, 0], PageDown: [8, 0],
  Home: [0, -1e9], End: [0, 1e9],
};
const FAR = 6;   // pixels after which a press is a drag

export const hand = (nodes, picture, {kind, onPick, onFocus, actions}) => {
  const {section, stage, live} = nodes, float = overlays(nodes);
  let tool = 'toggle';
  let cursor = null;      // [row, column] that the pointer or the keys are on
  let anchor = null;      // where a range begins
  let start = null;       // a pointer that is down
  let keyRange = false;   // Shift with arrows has marked anchor to cursor
  let rangeDoes = 'include';

  // ---- what is shown above the picture ------------------------------------------------------------------------------

  const inside = (a, b) => {   // the components of a range
    const {r0, r1, c0, c1} = span(a, b), found = [];
    for (let r = r0; r < r1; r++) {
      for (let c = c0; c < c1; c++) { const i = picture.id([r, c]); if (i >= 0) found.push(i); }
    }
    return found;
  };
  const dragging = () => Boolean(start && start.moved);
  const place = () => {
    if (!picture.ready()) return float({});
    const marking = anchor && cursor && (keyRange || dragging()), zooming = dragging() && tool === 'zoom';
    const counting = () => ({name: rangeWords(rangeDoes, inside(anchor, cursor).length, kind), lines: []});
    const single = cell => cell ? picture.rect(cell, cell) : null;
    float({
      cursor: dragging() ? null : single(cursor), range: marking ? picture.rect(anchor, cursor) : null,
      ring: single(picture.focus()), action: zooming ? 'zoom' : rangeDoes,
      card: !cursor || zooming ? null : marking ? counting() : picture.tell(cursor),
    });
  };
  const say = () => {
    const {name, lines} = picture.tell(cursor);
    live.textContent = name + (lines.length ? `: ${lines.map(line => line.join(' ')).join(', ')}` : '');
  };

  // ---- picks --------------------------------------------------------------------------------------------------------

  const pick = (action, a, b) => {
    const components = inside(a, b);
    if (components.length) onPick({action, components});
    return components;
  };
  const rangeAction = event => event.altKey || tool === 'exclude' ? 'exclude' : 'include';
  const clickAction = event => event.altKey ? 'exclude' : tool === 'zoom' ? 'toggle' : tool;
  const pickOne = (action, cell) => {
    const [i] = pick(action, cell, cell);
    if (i !== undefined) onFocus(i);
  };
  const pickRange = (action, a, b) => {
    const {length} = pick(action, a, b);
    if (length) live.textContent = doneWords(action, length, kind);
  };

  // ---- pointer ------------------------------------------------------------------------------------------------------

  const drag = event => {
    if (!start) return;
    if (Math.hypot(event.clientX - start.x, event.clientY - start.y) > FAR) start.moved = true;
    if (!start.moved || start.touch) { if (start.moved) cursor = null; return; }   // a finger scrolls the page
    cursor = picture.at(event, true) || cursor || start.exact;
    anchor = start.exact; keyRange = false; rangeDoes = rangeAction(event);
    place();
  };
  const click = (event, {cell, shift, touch}, from) => {
    cursor = cell;
    if (tool === 'zoom') { picture.look(picture.zooms('in', cell)); if (touch) cursor = null; return; }
    if (shift && from) pickRange(rangeAction(event), from, cell); else pickOne(clickAction(event), cell);
    anchor = cell;
    say();
  };
  const release = event => {
    removeEventListener('pointermove', drag, true);
    removeEventListener('pointerup', release, true);
    removeEventListener('pointercancel', release, true);
    const past = start, from = anchor;
    start = null;
    if (!past || event.type === 'pointercancel' || !picture.ready()) anchor = null;
    else if (!past.moved) click(event, past, from);
    else if (!past.touch && tool === 'zoom') zoomTo(past.exact, cursor || past.exact);
    else if (!past.touch) pickRange(rangeAction(event), past.exact, cursor || past.exact);
    place();
  };
  const zoomTo = (a, b) => {
    const to = span(a, b);
    if (to.c1 - to.c0 > 1 || to.r1 - to.r0 > 1) picture.look(to);
    cursor = anchor = null;
  };
  stage.addEventListener('pointermove', event => {
    if (event.pointerType === 'touch' || start) return;
    const cell = picture.ready() ? picture.at(event) : null;
    if (String(cell) !== String(cursor)) { cursor = cell; keyRange = false; place(); }
  });
  stage.addEventListener('pointerleave', () => { if (!start && !keyRange) { cursor = null; place(); } });
  stage.addEventListener('pointerdown', event => {
    const cell = event.button === 0 && picture.ready() ? picture.at(event) : null;
    if (!cell) return;
    keyRange = false;
    delete section.dataset.keys;
    start = {
      cell, exact: picture.at(event, true), x: event.clientX, y: event.clientY, shift: event.shiftKey, moved: false,
      touch: event.pointerType === 'touch',
    };
    stage.focus({preventScroll: true});
    addEventListener('pointermove', drag, true);
    addEventListener('pointerup', release, true);
    addEventListener('pointercancel', release, true);
  });
  stage.addEventListener('wheel', event => {   // sideways through a picture that is zoomed in
    if (!picture.ready() || isWhole(picture.view, picture.size())) return;
    const {view} = picture, by = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (by === 0 || (!event.shiftKey && Math.abs(by) < Math.abs(event.deltaY))) return;
    event.preventDefault();
    cursor = null;
    const columns = Math.ceil(Math.abs(by) / 600 * (view.c1 - view.c0));
    picture.look(moved(view, picture.size(), 0, Math.sign(by) * columns));
  }, {passive: false});

  // ---- keys ---------------------------------------------------------------------------------------------------------

  const step = ([down, right], shift) => {
    const from = cursor || anchor || [picture.view.r0, picture.view.c0], [rows, columns] = picture.size();
    if (shift && !keyRange) anchor = from;
    keyRange = shift;
    cursor = cursor || anchor ? [clamp(from[0] + down, 0, rows - 1), clamp(from[1] + right, 0, columns - 1)] : from;
    if (!keyRange) anchor = cursor;
    rangeDoes = 'include';
    if (!holds(picture.view, cursor)) picture.look(following(picture.view, picture.size(), cursor));
    say();
  };
  const press = event => {   // Enter or Space
    if (keyRange) pickRange(rangeAction(event), anchor, cursor);
    else { pickOne(clickAction(event), cursor); say(); }
    keyRange = false;
  };
  const remove = () => {
    if (keyRange) pickRange('exclude', anchor, cursor); else { pick('exclude', cursor, cursor); say(); }
    keyRange = false;
  };
  const KEYS = {
    Enter: press, ' ': press, Delete: remove, Backspace: remove,
    Escape: () => { keyRange = false; cursor = null; },
    '+': () => ACTIONS.in(), '=': () => ACTIONS.in(), '-': () => ACTIONS.out(), '0': () => ACTIONS.reset(),
  };
  const NEED_CURSOR = ['Enter', ' ', 'Delete', 'Backspace'];
  stage.addEventListener('keydown', event => {
    if (!picture.ready() || event.ctrlKey || event.metaKey) return;
    if (event.key !== 'Alt' && event.key !== 'Shift') section.dataset.keys = '';
    if (STEPS[event.key]) step(STEPS[event.key], event.shiftKey);
    else if (KEYS[event.key] && (cursor || !NEED_CURSOR.includes(event.key))) KEYS[event.key](event);
    else return;
    event.preventDefault();
    place();
  });
  stage.addEventListener('blur', () => { keyRange = false; if (!start) { cursor = null; place(); } });

  // ---- tools and zoom -----------------------------------------------------------------------------------------------

  /** What zooming is about: the cursor, else the last cell, else the page's component, else the middle. */
  const heart = () => [cursor, anchor, picture.focus()].find(cell => cell && holds(picture.view, cell))
    || [(picture.view.r0 + picture.view.r1) >> 1, (picture.view.c0 + picture.view.c1) >> 1];
  const ACTIONS = {
    in: () => picture.look(picture.zooms('in', heart())), out: () => picture.look(picture.zooms('out', heart())),
    reset: () => picture.look(whole(picture.size())), ...actions,
  };
  section.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button || !picture.ready()) return;
    if (button.dataset.do) return ACTIONS[button.dataset.do](button);
    tool = section.dataset.tool = button.dataset.tool;
    for (const other of section.querySelectorAll('button[data-tool]')) {
      other.setAttribute('aria-pressed', String(other === button));
    }
  });

  return {place, forget: () => { cursor = anchor = start = null; keyRange = false; live.textContent = ''; }};
};

// The life of a picture of components: loading an extraction, showing an edit, drawing again when width, theme or
// window change, saving. A `plan` says how one kind of picture is laid out and painted. It reports picks to the page
// and is told the new edit; it knows no dial and never decides what is selected.

import {tableOf, themeOf} from './map_colors.js';
import {following, frameOf, holds, whole} from './map_frame.js';
import {hand} from './map_hand.js';
import {marksOf, shading} from './map_shading.js';
import {fillLegend, over, shell, sized, watcher} from './map_shell.js';
import {savePng} from './map_signs.js';
import {ENDS, figures, fullName, one, signed} from './map_words.js';

/**
 * A plan has {margin, buttons, prepare(state), size(state), height(state), paint(ctx, frame, state, table),
 * at(state, x, y, exact), rect(state, a, b), id(state, cell), cell(state, i), zooms(state, way, cell),
 * legend(state, table), actions(state, draw)}.
 */
export const host = (root, {kind, label, height, onPick, onFocus}, plan) => {
  const nodes = shell(root, {kind, label, more: plan.buttons}), {section, stage, canvas} = nodes;
  section.style.setProperty('--left', `${plan.margin.left}px`);   // where the legend begins
  const nothing = {edit: null, drawn: null, marks: [], focus: null};
  const state = {kind, grid: null, shade: null, view: null, frame: null, ...nothing};

  const picture = {
    get view() { return state.view; },
    ready: () => state.drawn !== null,
    size: () => plan.size(state),
    look: view => { state.view = view; draw(); },
    id: cell => plan.id(state, cell),
    focus: () => state.focus,
    at: (event, exact = false) => {   // x and y from 0 to 1 inside the plot
      const edge = canvas.getBoundingClientRect(), {ratio, x, y, w, h} = state.frame;
      const across = ((event.clientX - edge.left) * ratio - x) / w, down = ((event.clientY - edge.top) * ratio - y) / h;
      return across < 0 || across >= 1 || down < 0 || down >= 1 ? null : plan.at(state, across, down, exact);
    },
    rect: (a, b) => plan.rect(state, a, b),
    tell: cell => {
      const i = plan.id(state, cell);
      return i < 0 ? {name: `layer ${cell[0]} has no ${one(kind)} here`, lines: []}
        : {name: fullName(state.grid, i), lines: figures(state.grid, state.edit, i)};
    },
    zooms: (way, cell) => plan.zooms(state, way, cell),
  };

  const scaleWords = () => ({
    low: signed(-state.shade.largest), high: signed(state.shade.largest), ends: ENDS[state.shade.mode],
  });
  const frameFor = (width, ratio) => frameOf(width, height || plan.height(state), ratio, plan.margin);
  const draw = () => {
    if (!state.grid || !stage.clientWidth || !state.grid.widest) return;
    const began = performance.now(), table = tableOf(themeOf()), {view} = state;
    const frame = state.frame = frameFor(stage.clientWidth, devicePixelRatio || 1);
    state.font = getComputedStyle(section).fontFamily;
    state.drawn = plan.paint(sized(canvas, frame), frame, state, table);
    over(nodes.area, frame);
    fillLegend(nodes.legend, {...scaleWords(), table, ...plan.legend(state, table)});
    hands.place();
    section.dataset.view = [view.r0, view.r1, view.c0, view.c1].join();
    section.dataset.draws = +(section.dataset.draws || 0) + 1;
    section.dataset.milliseconds = (performance.now() - began).toFixed(2);
  };
  const save = () => {   // always on white, and wide enough for the title
    const frame = frameFor(Math.max(900, stage.clientWidth), 2), table = tableOf('light');
    const {low, high, ends} = scaleWords();
    savePng({
      paint: ctx => plan.paint(ctx, frame, state, table), frame, table, font: state.font, title: state.grid.title,
      caption: state.grid.caption, ends: [`${ends[0]} ${low}`, `${high} ${ends[1]}`], name: `steer2edit-${kind}`,
    });
  };
  const actions = {png: save, ...plan.actions(state, () => draw())};
  const hands = hand(nodes, picture, {kind, onPick, onFocus, actions});
  const watch = watcher(stage, () => draw());

  const load = grid => {
    Object.assign(state, nothing, {grid: {...grid, absent: grid.cells.includes(-1)}});
    state.shade = shading(state.grid, null);
    plan.prepare(state);
    state.view = whole(plan.size(state));
    nodes.title.textContent = grid.title;
    hands.forget();
    draw();
    watch();
  };
  const show = edit => {
    if (!state.grid) return;
    const before = String(state.focus), {grid} = state;
    Object.assign(state, {edit, shade: shading(grid, edit), marks: marksOf(grid, edit)});
    state.focus = plan.cell(state, edit.focus);
    const {focus, view} = state;
    if (focus && String(focus) !== before && !holds(view, focus)) state.view = following(view, plan.size(state), focus);
    draw();
    watch();
  };
  return {load, show};
};

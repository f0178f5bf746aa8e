// What stands beside the edit: cosines of its directions with that of refusal, and the components that it shares with the
// edit below. Draws {title, below, safety, refusal: [{title, mean, share, random, sites}], overlap}.

import {make, counted, percent, signed} from '../studio/dom.js';
import {picture, svg} from './draw.js';

const say = text => make('p', {className: 'status', textContent: text});
const side = value => value < 0 ? 'against' : 'for';

/** One bar for each projection that the edit changes, upwards where it writes towards refusal. */
const bars = ({sites, random}, title) => {
  const step = Math.max(5, Math.min(20, 520 / sites.length)), height = 92, middle = 40, y = value => middle - 36 * value;
  const width = Math.max(180, sites.length * step + 44), name = ({kind, layer}) => `layer ${layer} ${kind}`;
  return picture(width, height, `Cosine of the directions of ${title} with that of refusal: ${sites.map(one => `${name(one)} ${signed(one.cosine, 2)}`).join(', ')}`,
    svg('rect', {x: 34, y: y(random), width: width - 38, height: y(-random) - y(random), class: 'why-band'}),
    ...[1, 0, -1].map(value => svg('text', {x: 28, y: y(value) + 4, 'text-anchor': 'end', text: value ? signed(value, 0) : '0'})),
    svg('line', {x1: 34, x2: width - 4, y1: middle, y2: middle, class: 'why-axis'}),
    ...sites.map((one, n) => svg('rect', {x: 36 + n * step, width: Math.max(2, step - 2), y: Math.min(middle, y(one.cosine)), height: Math.max(1, Math.abs(y(one.cosine) - middle)), class: `why-bar ${side(one.cosine)}`},
      svg('title', {text: `${name(one)}: ${signed(one.cosine, 3)}`}))),
    svg('text', {x: 36, y: height - 4, text: `layer ${sites[0].layer}`}), svg('text', {x: width - 4, y: height - 4, 'text-anchor': 'end', text: `layer ${sites.at(-1).layer}`}));
};

const told = ({title, mean, share, random}, safety) => {
  const far = mean > 0.999 ? 'its directions are those of refusal itself'
    : Math.abs(mean) <= 2 * random ? `hardly more than random directions have (±${random.toFixed(2)})`
      : `on the whole it writes ${mean > 0 ? 'towards refusal' : 'against refusal'} as “${safety}” shows it (random directions: ±${random.toFixed(2)})`;
  return `${title}: mean cosine ${signed(mean, 3)}, ${far}. ${percent(share, 1)} of its squared change lies along the refusal direction.`;
};

const refusal = ({refusal: found, safety}) => make('section', {}, make('h3', {textContent: 'Does it write along refusal?'}),
  ...(found.length ? found.flatMap(one => [say(told(one, safety)), bars(one, one.title)]) : [say('No behaviour of this model is about refusal, so there is no such direction.')]),
  ...(found.length ? [say('Cosine of the direction u that the edit writes with that of refusal, for each projection that it changes; +1 is the same direction, 0 one that has nothing to do with it, −1 the opposite. The mean counts each by the size of the edit there. The grey band is what random directions have.')] : []));

const list = (title, rows) => make('div', {}, make('h3', {textContent: title}), rows.length ? make('ol', {}, ...rows.map(({name, number, cosine, strengths}) => make('li', {},
  make('button', {type: 'button', className: 'quiet', textContent: name, onclick: () => window.steer2edit.focus?.(number)}), ` ${signed(cosine, 2)} · λ ${signed(strengths[0], 2)}, ${signed(strengths[1], 2)}`))) : say('none'));

const overlap = ({overlap: found, title, below}) => {
  if (!found) return make('section', {}, make('h3', {textContent: 'Where does it meet another edit?'}),
    say('There is no edit below this one. To lay two on each other, open Advanced below the dials, press “Keep this edit below another”, and choose another behaviour.'));
  const [one, other] = found.counts, both = kind => `${counted(found.shared[kind])} ${kind} (${found.expected[kind].toFixed(1)} by chance)`;
  const whole = found.size < 0.98 ? `Together they are ${percent(1 - found.size, 1)} smaller than two edits that have nothing to do with each other: they partly undo each other.`
    : found.size > 1.02 ? `Together they are ${percent(found.size - 1, 1)} larger than two edits that have nothing to do with each other: they partly do the same.`
      : 'Together they are as large as two edits that have nothing to do with each other.';
  return make('section', {}, make('h3', {textContent: `Where do “${title}” and “${below}” meet?`}),
    say(`${title} changes ${counted(one.heads)} heads and ${counted(one.neurons)} neurons, ${below} ${counted(other.heads)} and ${counted(other.neurons)}. Both change ${both('heads')} and ${both('neurons')}.`),
    say(`${whole} Cosine of the two as a whole ${signed(found.cosine, 3)}.`),
    make('div', {className: 'why-pair'}, list(`Against each other: ${counted(found.opposed)}`, found.most_opposed), list(`The same way: ${counted(found.together)}`, found.most_together)),
    say('First the cosine of the two changes of a component’s weights: −1 undoes the other edit, +1 does the same once more, and between −0.1 and +0.1 they hardly touch. Then λ in the one and in the other, each along its own direction.'));
};

export const start = ({element, props, watch}) => {
  const root = element.querySelector('.why-beside');
  const draw = () => {
    const value = props.value;
    root.hidden = !value || !value.refusal;
    if (root.hidden) return;
    root.dataset.edit = value.edit || '';
    root.classList.remove('outdated');
    root.replaceChildren(make('div', {className: 'why-sections'}, refusal(value), overlap(value)));
  };
  document.addEventListener('studio:rested', ({detail}) => root.classList.toggle('outdated', root.dataset.edit !== detail.made));
  watch('value', draw);
  draw();
};

// The card of one component in full, in the order of a person's questions: what it is to the behaviour, what it does, which
// kind of head it is, when, what it says, and who is like it. Every number comes with the value, which the server computed.

import {make, counted, roughly, signed} from '../studio/dom.js';
import {attention, elasticCurve, figure, histogram, interval, tinted} from './draw.js';
import {copying} from './copying.js';

const HOWS = {zeroed: 'zeroed', mean: 'set to its mean', 'edited alone': 'edited alone', 'left out': 'left out of the edit'};
const KINDS = {
  self: 'looks at itself', 'previous token': 'looks at the token before', entropy: 'spreads its look (entropy)', distance: 'looks far back',
  variance: 'looks differently from token to token', induction: 'looks behind an earlier occurrence (induction)',
};
const section = (title, ...children) => make('section', {}, make('h3', {textContent: title}), ...children.flat().filter(Boolean));
const say = text => make('p', {className: 'status', textContent: text});
const table = (...rows) => make('table', {}, make('tbody', {}, ...rows.map(cells => make('tr', {}, ...cells.map((cell, n) =>
  make(n ? 'td' : 'th', n ? {} : {scope: 'row'}, typeof cell === 'string' ? document.createTextNode(cell) : cell))))));
const open = number => window.steer2edit.focus?.(number);

// ---- what is it to this behaviour ---------------------------------------------------------------------------------------

const score = ({luck, arithmetic, kind, settings}) => {
  const {low, high, rank, count, p, band, expected_false: falsely, n_examples: examples} = luck, {g, threshold: tau, gain} = arithmetic;
  const lambda = x => Math.sign(x) * Math.max(0, Math.abs(x) - tau) * gain * settings.strength;
  const net = tau === null ? [] : [
    elasticCurve(tau, lambda, g),
    say(`The elastic net: λ = ${settings.strength.toFixed(2)} · sign(g) · max(|g| − ${tau.toFixed(3)}, 0) · ${gain.toFixed(2)} = ${signed(lambda(g), 3)}.`)];
  return section('What is it to this behaviour?',
    table([`g, with its 95 % interval over ${counted(examples)} examples`, interval({value: g, low, high}, 1, 'g', band), figure({value: g, low, high})],
      ['rank by |g|', '', `${counted(rank)} of ${counted(count)} ${kind}s`],
      ['with shuffled labels', '', `as far apart in ${(100 * p).toFixed(1)}% of draws`]),
    say(Math.abs(g) > band ? 'The grey band is what 95 of 100 directions of chance reach here: this one is outside it.'
      : 'It lies within the grey band, which 95 of 100 directions of chance reach: this g can be luck.'),
    say(`Along a direction of chance ${roughly(falsely)} of the ${counted(count)} ${kind}s have so large a |g|.`),
    make('details', {}, make('summary', {textContent: 'The arithmetic, step by step'}), table(
      ['what it writes on average, |W x̄|', '', arithmetic.output_length.toFixed(4)], ['of it along the direction, u · W x̄', '', signed(arithmetic.contribution, 4)],
      ['their quotient is g', '', signed(g, 4)], ...(tau === null ? [] : [['threshold ρα', '', tau.toFixed(4)], ['gain 1 / (ρ(1 − α))', '', gain.toFixed(3)]]),
      ['λ of its edit', '', signed(arithmetic.strength, 4)], ['|ΔW| / |W|', '', `${(100 * arithmetic.relative_change).toFixed(1)}%`])), ...net);
};

// ---- what does it do ----------------------------------------------------------------------------------------------------

const effects = ({effects, arithmetic, luck}) => {
  const most = Math.max(1e-9, ...effects.flatMap(one => [Math.abs(one.margin.low), Math.abs(one.margin.high)]));
  const clear = one => one.margin.low > 0 || one.margin.high < 0, zeroed = effects.find(one => one.how === 'zeroed');
  return section('What does it do?',
    say('The change of the mean log-likelihood of wanted minus unwanted answers, in nats a token, when it alone is …'),
    table(...effects.map(one => one.margin.value === null ? [HOWS[one.how], '', 'the model breaks']
      : [HOWS[one.how], interval(one.margin, most, HOWS[one.how]), `${figure(one.margin, 4)}; KL ${one.kl.value.toFixed(4)}`])),
    zeroed && say(clear(zeroed) ? 'Taking it away has a clear effect: it matters here, whatever its g.'
      : `Taking it away has no clear effect${Math.abs(arithmetic.g) > luck.band ? ': a large g alone does not make it needed' : ''}.`));
};

// ---- when ---------------------------------------------------------------------------------------------------------------

const line = text => text.replace(/\s+/g, ' ').slice(0, 160);
const when = ({kind, attention: looks, activations, examples, unrelated, text}, ask) => {
  const field = make('input', {type: 'text', value: text, placeholder: 'a text of your own', 'aria-label': 'A text to watch it on', maxLength: 600});
  const form = make('form', {className: 'why-form', onsubmit: event => { event.preventDefault(); ask(field.value); }}, field, make('button', {type: 'submit', textContent: 'Watch'}));
  return section('When?', ...(looks ? [say('Where it looks: point at a token or at a row.'), attention(looks.tokens, looks.original, looks.edited, 'Where it looks')] : []),
    say(kind === 'head' ? 'What it writes along the direction at each token: violet for the behaviour, ochre against it.' : 'How strongly it fires at each token: violet above 0, ochre below.'),
    tinted(activations.tokens, activations.original, 'Its activation at each token'), form,
    make('details', {}, make('summary', {textContent: 'On texts about something else'}), ...unrelated.map(one => tinted(one.tokens, one.original, 'An unrelated text'))),
    say('Its mean activation, example by example: wanted upwards, unwanted downwards.'), histogram(examples, 'Examples by activation'),
    make('details', {}, make('summary', {textContent: 'One example from each tenth'}), make('ol', {className: 'why-deciles'}, ...examples.deciles.map(({side, value, prompt, response}) =>
      make('li', {}, make('b', {textContent: signed(value, 3)}), ` ${side === 'positive' ? 'wanted' : 'unwanted'}: ${line(`${prompt} ${response}`)}`)))));
};

// ---- which kind of head, what it says, who is like it -------------------------------------------------------------------

const kinds = ({head_kind: kind}) => !Object.keys(kind).length ? null : section('Which kind of head?',
  make('div', {className: 'why-kinds'}, table(...Object.entries(kind).map(([name, {value, rank, count}]) => [KINDS[name] || name, value === null ? '–' : value.toFixed(3), value === null ? 'no token occurs twice' : `rank ${counted(rank)} of ${counted(count)}`]))));

const words = list => list.slice(0, 6).map(([token]) => `“${token.replaceAll('\n', '↵')}”`).join(' ');
/** The heading on a line of its own: each list of words then fits on one. */
const reading = (title, {up, down}) => make('tbody', {}, make('tr', {}, make('th', {textContent: title, colSpan: 2, scope: 'rowgroup'})),
  ...[['+', up], ['−', down]].map(([sign, list]) => make('tr', {}, make('td', {textContent: sign}), make('td', {textContent: words(list)}))));
const says = ({readings}) => !readings.length ? null : section('What does it say?',
  say('The words that its output makes likelier (+) and less likely (−): read at once through the model’s last steps, and through everything above it (the mean Jacobian).'),
  make('table', {className: 'why-readings'}, ...readings.flatMap(({what, logit_lens: direct, jacobian}) => [
    reading(`${what}, at once`, direct), ...(jacobian ? [reading(`${what}, through the layers above`, jacobian)] : [])])),
  ...readings.filter(one => one.disagrees).map(one => say(`The two readings of its ${one.what} disagree (correlation ${one.correlation.toFixed(2)}): the layers above turn it into something else.`)));

const relatives = ({relatives, touched_by: touched}) => section('Relatives',
  say('Components that write in the most similar direction, by cosine.'),
  make('ol', {}, ...relatives.map(({number, name, cosine}) => make('li', {}, make('button', {type: 'button', className: 'quiet', textContent: name, onclick: () => open(number)}), ` ${signed(cosine, 3)}`))),
  Object.keys(touched).length ? say(`The suggested edits of other behaviours touch it too: ${Object.entries(touched).map(([name, strength]) => `${name} (λ ${signed(strength, 2)})`).join(', ')}.`) : null);

const COLUMNS = [[score, effects, kinds], [when], [says, relatives]];   // about equally high

export const start = ({element, props, watch}) => {
  const root = element.querySelector('.why-card');
  let text = '', shown = -1;
  const press = () => document.querySelector('#why-ask')?.click();
  const ask = written => { text = written; press(); };
  const draw = () => {
    const value = props.value;
    root.hidden = !value || !value.name;
    if (root.hidden) return;
    shown = value.number;
    root.setAttribute('aria-busy', String(Boolean(value.busy)));
    root.dataset.edit = value.edit || '';
    root.classList.remove('outdated');
    if (value.luck) document.dispatchEvent(new CustomEvent('why:shown'));
    const close = make('button', {type: 'button', className: 'quiet', textContent: 'Close', onclick: () => { root.hidden = true; }});
    const columns = value.luck ? COLUMNS.map(parts => make('div', {}, ...parts.map(part => part(value, ask)).filter(Boolean))) : [];
    root.replaceChildren(
      make('header', {}, make('h2', {textContent: `Why ${value.name}?`}), say(value.busy || [value.about, ...value.missing].join(' ')), value.luck ? copying(root, value) : null, close),
      make('div', {className: 'why-sections'}, ...columns));
  };
  // The card follows the hand while it is open; an edit that has changed since marks what is about it.
  document.addEventListener('studio:focus', ({detail}) => { if (!root.hidden && detail.focus !== shown) { text = ''; press(); } });
  document.addEventListener('studio:rested', ({detail}) => root.classList.toggle('outdated', root.dataset.edit !== detail.made));
  window.steer2edit = {...window.steer2edit, watched: () => text};
  watch('value', draw);
  draw();
};

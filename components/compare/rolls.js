// Draws {busy, asked, columns: [{title, told, rolls: [{text, wanted, matched, flaw, tokens}]}]}: for each column one line that
// says what the answers come to, a button for every answer, and the one that is open in full. Text enters through textContent.
const root = element.querySelector('.rolls');
let open = 0;   // the number of the answer that is open, the same in every column

const make = (tag, className, parent, text = '') => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  parent.append(node);
  return node;
};

const SIGNS = {true: '✓', false: '✗', null: '·'};
const WORDS = {true: 'shows it', false: 'does not', null: 'not judged'};
const state = roll => roll.flaw ? roll.flaw : WORDS[roll.wanted];

const marked = (parent, roll) => {   // the words that decided are marked where they first stand
  const at = roll.matched ? roll.text.toLowerCase().indexOf(roll.matched.toLowerCase()) : -1;
  if (at < 0) { parent.textContent = roll.text; return; }
  const end = at + roll.matched.length;
  parent.replaceChildren(roll.text.slice(0, at), Object.assign(document.createElement('mark'), {textContent: roll.text.slice(at, end)}), roll.text.slice(end));
};

const column = (data, place, all, first) => {
  const section = make('section', 'roll-column', all);
  const head = make('header', '', section);
  make('h3', '', head, data.title).setAttribute('aria-level', 2);   // for ears: the columns stand below those of the texts
  const row = make('div', 'roll-row', head);
  make('strong', 'told', head, data.told);
  data.rolls.forEach((roll, n) => {
    const button = make('button', 'roll', row, SIGNS[roll.wanted]);
    button.type = 'button';
    button.dataset.wanted = String(roll.wanted);
    button.dataset.tokens = roll.tokens;
    button.dataset.changed = String(roll.text !== first.rolls[n]?.text);
    button.setAttribute('aria-pressed', String(n === open));
    button.setAttribute('aria-label', `Answer ${n + 1}: ${state(roll)}`);
    button.title = `${n + 1}: ${state(roll)}, ${roll.tokens} tokens`;
    button.addEventListener('click', () => {
      open = n;
      draw();
      root.querySelectorAll('.roll-column')[place].querySelectorAll('.roll')[n].focus();
    });
  });
  const roll = data.rolls[Math.min(open, data.rolls.length - 1)];
  const text = make('div', 'text', section);
  text.tabIndex = 0;
  text.setAttribute('aria-label', `${data.title}, answer ${open + 1}`);
  if (roll) marked(text, roll);
};

const draw = () => {
  const value = props.value;
  root.hidden = !value || !Array.isArray(value.columns);
  if (root.hidden) return;
  root.setAttribute('aria-busy', String(Boolean(value.busy)));
  root.replaceChildren();
  make('p', 'asked', root, value.asked + (value.busy ? ' …' : ''));
  const all = make('div', 'roll-columns', root);
  value.columns.forEach((data, place) => column(data, place, all, value.columns[0]));
};

const arrived = () => {
  root.classList.remove('outdated');
  root.dataset.arrived = +(root.dataset.arrived || 0) + 1;   // tells new answers from another one that is opened
  draw();
};
root.show = value => {   // for a model in the tab
  props.value = value;
  arrived();
};
watch('value', arrived);
draw();

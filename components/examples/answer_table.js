// Draws the JSON text of {busy, more, rows: [{n, prompt, answer, note, side}]}, side being "positive", "negative" or "". All text enters the
// page through textContent. A tick is reported as {n, side}: one box of a row at most is ticked.
const root = element.querySelector('.answer-table');
const BOXES = [['positive', 'wanted'], ['negative', 'opposite']];
let shown = [];

const make = (tag, className, parent, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
};

const tick = (boxes, n, side) => {
  for (const [name, box] of boxes) box.checked = name === side;
  trigger('mark', {n, side});
};

const row = (body, item) => {
  const line = make('tr', '', body), boxes = [];
  for (const [side, name] of BOXES) {
    const label = make('label', '', make('td', 'box', line)), box = make('input', '', label);
    box.type = 'checkbox';
    box.checked = item.side === side;
    box.setAttribute('aria-label', `answer ${item.n + 1}: ${name}`);
    make('span', '', label, name);
    boxes.push([side, box]);
    box.addEventListener('change', () => tick(boxes, item.n, box.checked ? side : ''));
  }
  const said = make('td', 'said', line);
  make('p', 'prompt', said, item.prompt);
  make('p', 'answer', said, item.answer || '(nothing)');
  make('p', 'note', said, item.note);
  return boxes;
};

// Rows that are on show stay, so that the focus and the scroll position stay too.
const draw = () => {
  const value = props.value ? JSON.parse(props.value) : null, rows = (value && value.rows) || [];
  root.hidden = !rows.length;
  const same = shown.length <= rows.length && shown.every((old, k) => old.answer === rows[k].answer && old.prompt === rows[k].prompt);
  if (!same || !root.querySelector('tbody')) {
    root.replaceChildren();
    shown = [];
    const table = make('table', '', root), head = make('tr', '', make('thead', '', table));
    for (const name of ['Wanted', 'Opposite', 'Answer']) make('th', '', head, name).scope = 'col';
    make('tbody', '', table);
    make('p', 'more', root);
  }
  const body = root.querySelector('tbody');
  rows.forEach((item, k) => {
    if (k >= shown.length) shown.push({...item, boxes: row(body, item)});
    for (const [side, box] of shown[k].boxes) {
      box.checked = item.side === side;
      box.disabled = Boolean(value.busy);   // answers that come would overtake a tick
    }
  });
  root.querySelector('.more').textContent = (value && value.more) || '';
  root.dataset.rows = rows.length;
};
watch('value', draw);
draw();

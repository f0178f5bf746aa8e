// Draws {busy, edit, asked, columns: [{title, note, segments: [[text, mark]]}]} as columns of text; the marks are "", "new", "gone". All text enters the page
// through textContent; the elements of a column are kept while it streams, so that its scroll position stays.
const root = element.querySelector('.texts');
const asked = Object.assign(document.createElement('p'), {className: 'asked'});   // which prompt, temperature and dice
const part = Object.assign(document.createElement('button'), {type: 'button', className: 'quiet', textContent: 'Where do they part?', onclick: () => document.querySelector('#why-part')?.click()});
const line = Object.assign(document.createElement('div'), {className: 'asked-line'});
line.append(asked, part);
root.before(line);

const make = (tag, className, parent) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  parent.append(node);
  return node;
};

const build = count => {
  root.replaceChildren();
  for (let i = 0; i < count; i++) {
    const column = make('section', 'text-column', root);
    const head = make('header', '', column);
    make('h3', '', head).setAttribute('aria-level', 2);   // beside the page's other parts, below its title
    make('span', 'note', head);
    const text = make('div', 'text', column);
    text.tabIndex = 0;
  }
};

const fill = (node, segments) => {
  const parts = segments.map(([text, mark]) => {
    const part = document.createElement({new: 'mark', gone: 'del'}[mark] || 'span');
    if (mark === 'gone') {   // a tick where words were left out; the words themselves on hover and for screen readers
      part.title = `left out: ${text}`;
      part.setAttribute('role', 'img');   // a deletion of no text may have no name
      part.setAttribute('aria-label', part.title);
    } else part.textContent = text;
    return part;
  });
  node.replaceChildren(...parts);
};

const draw = () => {
  const value = props.value;
  if (!value || !Array.isArray(value.columns)) return;
  if (root.children.length !== value.columns.length) build(value.columns.length);
  root.setAttribute('aria-busy', String(Boolean(value.busy)));
  // Texts of an edit that has changed since stay marked.
  root.dataset.edit = value.edit || '';
  const current = document.querySelector('#summary')?.dataset.edit;
  root.classList.toggle('outdated', Boolean(current) && current !== root.dataset.edit);
  asked.textContent = value.asked || '';
  value.columns.forEach((data, i) => {
    const column = root.children[i];
    column.querySelector('h3').textContent = data.title;
    column.querySelector('.note').textContent = data.note;
    const text = column.querySelector('.text');
    const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
    fill(text, data.segments);
    text.setAttribute('aria-label', data.title);
    if (value.busy && atEnd) text.scrollTop = text.scrollHeight;
  });
};

root.show = value => {   // for a model in the tab
  props.value = value;
  draw();
};
watch('value', draw);
draw();

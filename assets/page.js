// The page's own small behaviours: undo by keyboard, what follows a change of the edit once the dials rest, Stop
// buttons, numbers that stay within their bounds, and what screen readers are told.
() => {
  const RESTING_MS = 250, WAITING_MS = 600;
  let timer = 0;
  const click = id => document.querySelector(`#${id}`)?.click();
  const texts = () => document.querySelector('#texts .texts');
  const notes = () => texts()?.querySelectorAll('.note') || [];

  // A Stop button can be pressed while one of its runs is under way, waiting for its turn included.
  const runs = {};
  let waiting = 0;
  const mark = (stop, run, on) => {
    const names = runs[stop] ||= new Set();
    names[on ? 'add' : 'delete'](run);
    const button = document.getElementById(stop);
    if (button) button.disabled = !names.size;
    if (stop === 'stop-run') waitForTexts(on);
  };
  // Nothing comes back as long as others have the model: the columns say so.
  const waitForTexts = on => {
    clearTimeout(waiting);
    for (const note of notes()) if (note.dataset.before !== undefined) {
      if (note.textContent === 'waiting …') note.textContent = note.dataset.before;
      delete note.dataset.before;
    }
    if (on) waiting = setTimeout(() => {
      if (texts()?.getAttribute('aria-busy') === 'true') return;
      for (const note of notes()) { note.dataset.before = note.textContent; note.textContent = 'waiting …'; }
    }, WAITING_MS);
  };

  // Called by the page after every change of the edit. The table is large, so it follows when the dials rest.
  window.steer2edit = {
    changed: () => {
      const shown = texts();
      shown?.classList.add('outdated');
      clearTimeout(timer);
      timer = setTimeout(() => {
        click('refresh');
        const current = document.querySelector('#summary [data-edit]')?.dataset.edit;
        if (shown && shown.dataset.edit === current) shown.classList.remove('outdated');
        else if (document.querySelector('#follow input')?.checked) click('run');
      }, RESTING_MS);
    },

    started: (stop, run) => mark(stop, run, true),
    ended: (stop, run) => mark(stop, run, false),

    // A run that was stopped or failed leaves its texts as far as they came.
    broken: () => {
      const shown = texts();
      if (shown?.getAttribute('aria-busy') !== 'true') return;
      shown.setAttribute('aria-busy', 'false');
      for (const note of notes()) note.textContent = 'stopped';
    },

    // A download button takes two clicks: one makes the file, one fetches it. The second is the page's.
    download: () => setTimeout(() => click('download'), 50),
  };

  document.addEventListener('keydown', event => {
    const typing = event.target.closest?.('textarea, input[type=text], input[type=number], [contenteditable=true]');
    if (typing || !(event.ctrlKey || event.metaKey)) return;
    const key = event.key.toLowerCase();
    if (key !== 'z' && key !== 'y') return;
    event.preventDefault();
    click(key === 'y' || event.shiftKey ? 'redo' : 'undo');
  });

  // A number beyond its bounds becomes the nearest one, and an empty field what it was: before the page reads them.
  const number = event => event.target.matches?.('input[type=number]') ? event.target : null;
  const bound = (field, side) => field[side] === '' ? NaN : Number(field[side]);
  const correct = (field, value) => {
    if (field.value === String(value)) return;
    field.value = value;
    field.dispatchEvent(new Event('input', {bubbles: true}));
  };
  document.addEventListener('focusin', event => {
    const field = number(event);
    if (field) field.dataset.before = field.value;
  });
  document.addEventListener('input', event => {
    const field = number(event);
    if (!field || field.value === '') return;
    const value = Number(field.value), low = bound(field, 'min'), high = bound(field, 'max');
    if (value > high) field.value = high;
    else if (value < low && low <= 0) field.value = low;   // a smaller one above 0 may still be on its way to 0.5 or 12
  }, true);
  document.addEventListener('change', event => {
    const field = number(event);
    if (!field) return;
    if (field.value === '') { if (!field.placeholder && field.dataset.before) correct(field, field.dataset.before); }
    else if (Number(field.value) < bound(field, 'min')) correct(field, field.min);
  }, true);

  // What changes by itself is read out, and a field for a file says which.
  for (const id of ['status', 'export-status']) {
    const line = document.getElementById(id);
    line?.setAttribute('role', 'status');
  }
  document.addEventListener('focusin', event => {
    const button = event.target.closest?.('button[aria-dropeffect]');
    const name = button?.closest('.block')?.querySelector('label')?.innerText.trim(), told = button?.getAttribute('aria-label');
    if (name && !told.startsWith(name)) button.setAttribute('aria-label', `${name}: ${told}`);
  });
}

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

  const edit = () => document.querySelector('#summary [data-edit]')?.dataset.edit;
  let followed = edit();
  const rested = () => {
    const shown = texts();
    timer = 0;
    followed = edit();
    click('refresh');
    if (shown && shown.dataset.edit === followed) shown.classList.remove('outdated');
    else if (document.querySelector('#follow input')?.checked) click('run');
  };
  document.addEventListener('input', event => {   // a dial that moves again does not rest
    if (timer && event.target.matches?.('input[type=range]')) window.steer2edit.changed();
  }, true);

  // Called by the page after every change of the edit. The table is large, so it follows when the dials rest.
  window.steer2edit = {
    changed: () => {
      texts()?.classList.add('outdated');
      clearTimeout(timer);
      timer = setTimeout(rested, RESTING_MS);
    },
    // What rested may have been another edit than the server's.
    settled: () => { if (edit() !== followed) window.steer2edit.changed(); },

    started: (stop, run) => mark(stop, run, true),
    ended: (stop, run) => {
      mark(stop, run, false);
      if (stop !== 'stop-run' || !again) return;
      again = false;
      setTimeout(() => click('run'));
    },

    // A run that was stopped or failed leaves its texts as far as they came.
    broken: () => {
      const shown = texts();
      if (shown?.getAttribute('aria-busy') !== 'true') return;
      shown.setAttribute('aria-busy', 'false');
      for (const note of notes()) note.textContent = 'stopped';
    },
  };

  // A Stop reaches a run by the number that the server has given it, and a run that begins while the one before it is
  // being stopped would be taken for that one, and could not be stopped any more. So a Stop that is quicker than the
  // number waits for it, and a button that begins a run waits until a Stop has arrived.
  const RUNS = ['extract', 'run', 'checkpoint', 'adapter', 'recipe', 'control-vector', 'push', 'bring-use', 'generate',
    'measure-trust', 'find', 'sweep', 'go-on', 'progressive', 'leave-one-out', 'measure'];
  const numbers = {}, sent = {}, send = window.fetch;
  let stopping = 0, again = false, pressed = 0;
  const reach = async (url, options) => {
    const asked = JSON.parse(options.body);
    stopping++;
    try {
      asked.event_id ||= await numbers[asked.fn_index];
      if (!asked.event_id) return Response.json({});
      const told = sent[`${url} ${asked.event_id}`] ||= send(url, {...options, body: JSON.stringify(asked)});
      return (await told).clone();   // of two that stop one run at once, the server would fail at the second
    } finally { stopping--; }
  };
  window.fetch = (url, options) => {
    const [, path] = /\/gradio_api\/(queue\/join|cancel|reset)\b/.exec(url?.url || url) || [];
    if (!path || !options?.body) return send(url, options);
    if (path !== 'queue/join') return reach(url, options);
    const request = send(url, options), run = JSON.parse(options.body).fn_index;
    numbers[run] = request.then(answer => answer.clone().json()).then(answer => answer.event_id, () => null);
    return request;
  };
  const stopped = async () => {
    do await new Promise(next => setTimeout(next, 30)); while (stopping);   // the page follows within a turn or two
  };
  window.addEventListener('click', event => {
    const button = event.target.closest?.('button');
    if (button?.id === 'stop-run') again = false;
    if (!stopping && button?.id === 'run' && runs['stop-run']?.size) again = true;   // follows the one under way
    if (!stopping || !RUNS.includes(button?.id)) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    stopped().then(() => button.click());
  }, true);

  document.addEventListener('keydown', event => {
    const typing = event.target.closest?.('textarea, input[type=text], input[type=number], [contenteditable=true]');
    if (typing || !(event.ctrlKey || event.metaKey)) return;
    const key = event.key.toLowerCase();
    if (key !== 'z' && key !== 'y') return;
    event.preventDefault();
    if (event.repeat && event.timeStamp - pressed < 100) return;   // a key held down: no faster than the server
    pressed = event.timeStamp;
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

  // What a control is for, where the pointer rests; the words are put in by components/look.py.
  const TOLD = {};
  for (const [id, told] of Object.entries(TOLD)) document.getElementById(id)?.setAttribute('title', told);

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

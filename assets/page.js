// What follows a change of the edit: the table and the texts once the dials rest, and undo by keyboard.
() => {
  const RESTING_MS = 250, SHOWN_MS = 50, WAITING_MS = 600;
  let timer = 0, waiting = 0;
  let own = false;   // a click of the page itself is under way
  const click = id => {
    own = true;
    document.querySelector(`#${id}`)?.click();
    own = false;
  };
  const texts = () => document.querySelector('#texts .texts');
  const answers = () => document.querySelector('#rolls .rolls');
  const outdate = () => { for (const one of [texts(), answers()]) one?.classList.add('outdated'); };
  const notes = () => texts()?.querySelectorAll('.note') || [];

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

  // Where a person left each dial. What the page sets by itself may arrive before the page has sent where the dial went,
  // and would be sent in its place; so might the answer to a dial moved before. The one that was moved last, as long as
  // nothing else was done, gets its value back.
  const left = {};
  let moved = null;
  const keepMoved = () => setTimeout(() => {   // what has arrived is on the page by then
    const {dial, value} = moved || {};
    if (!dial?.isConnected || Number(dial.value) === Number(value)) return;
    dial.value = value;
    dial.dispatchEvent(new Event('input', {bubbles: true}));
    moved = null;   // once: a value that is refused stays refused
  }, SHOWN_MS);
  document.addEventListener('input', ({target: dial}) => {
    const follows = dial.value && dial.closest?.('#set, #selection, #inspector-panel');
    moved = follows && dial.matches('input[type=range], input[type=number]') ? {dial, value: dial.value} : null;
    if (moved) left[dial.closest('.block')?.id] = moved;
  }, true);
  for (const other of ['pointerdown', 'keydown', 'click']) document.addEventListener(other, () => {
    if (!own) moved = null;
  }, true);

  // Called by the page after every change of the edit. The table is large, so it follows when the dials rest.
  window.steer2edit = {
    ...window.steer2edit,
    changed: () => {
      outdate();
      clearTimeout(timer);
      timer = setTimeout(rested, RESTING_MS);
    },
    // Where a person left a dial, or the value that gradio has of it where that is not within its bounds.
    left: (id, value) => {
      const {dial, value: text} = left[id] || {}, to = Number(text);
      return dial?.isConnected && to >= Number(dial.min) && to <= Number(dial.max) ? to : value;
    },
    // What rested may have been another edit than the server's.
    settled: () => {
      keepMoved();
      if (edit() !== followed) window.steer2edit.changed();
    },

    // Nothing comes back as long as others have the model: the columns say so.
    waiting: on => {
      clearTimeout(waiting);
      for (const note of notes()) if (note.dataset.before !== undefined) {
        if (note.textContent === 'waiting …') note.textContent = note.dataset.before;
        delete note.dataset.before;
      }
      if (on) waiting = setTimeout(() => {
        if (texts()?.getAttribute('aria-busy') === 'true') return;
        for (const note of notes()) { note.dataset.before = note.textContent; note.textContent = 'waiting …'; }
      }, WAITING_MS);
    },

    // A run that was stopped or failed leaves its texts as far as they came.
    broken: () => {
      if (answers()?.getAttribute('aria-busy') === 'true') {
        answers().setAttribute('aria-busy', 'false');
        answers().classList.add('outdated');
      }
      const shown = texts();
      if (shown?.getAttribute('aria-busy') !== 'true') return;
      shown.setAttribute('aria-busy', 'false');
      for (const note of notes()) note.textContent = 'stopped';
    },
  };

  // What belongs to another prompt, length, temperature or seed is no answer to what stands there now.
  document.addEventListener('input', event => {
    if (event.target.closest?.('#prompt, #length, #temperature, #seed, #gamma')) outdate();
  });

  let pressed = 0;
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
}

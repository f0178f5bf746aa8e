// What follows a change of the edit: texts are marked as out of date and follow once the dials rest; and which runs a
// Stop button ends. The studio calls `outdate` and `rested`, the page's events `begin` and `ended`.
() => {
  const WAITING_MS = 600, ASK_MS = 2000;
  const texts = () => document.querySelector('#texts .texts');
  const answers = () => document.querySelector('#rolls .rolls');
  const notes = () => texts()?.querySelectorAll('.note') || [];
  const outdate = () => { for (const one of [texts(), answers()]) one?.classList.add('outdated'); };
  // What belongs to another prompt, length, temperature or seed is no answer to what stands there now.
  document.addEventListener('input', event => {
    if (event.target.closest?.('#prompt, #length, #temperature, #seed, #gamma')) outdate();
  });

  // Nothing comes back as long as others have the model: the columns say so.
  const begun = () => {
    for (const note of notes()) if (note.dataset.before !== undefined) {
      if (note.textContent.startsWith('waiting')) note.textContent = note.dataset.before;
      delete note.dataset.before;
    }
  };
  const queued = async (stop, kind, name) => {   // every run asks, so that all of them are counted
    const waits = () => live(under_way[stop]?.[kind]).includes(name);
    const before = waits() ? await window.steer2edit.ahead?.(name) : null;
    if (before === null || before === undefined || !waits()) return;
    if (kind === 'compare' && texts()?.getAttribute('aria-busy') !== 'true') for (const note of notes()) {
      note.dataset.before ??= note.textContent;
      note.textContent = before > 0 ? `waiting, ${before} before you …` : 'waiting …';
    }
    setTimeout(() => queued(stop, kind, name), ASK_MS);
  };

  // Runs by their Stop button: {kind: [names of those under way, in their order]}. A run that was stopped may still wait
  // for its turn, to hear there that it is over; for the visitor it is over at once.
  const under_way = {}, stopped = new Set(), replaced = new Set();
  const live = (names = []) => names.filter(name => !stopped.has(name));
  const random = () => crypto.getRandomValues(new Uint32Array(4)).join('-');
  const mark = stop => {
    const busy = Object.values(under_way[stop]).some(names => live(names).length), button = document.getElementById(stop);
    if (button) button.disabled = !busy;
    if (stop === 'stop-run') begun();
  };
  const end = names => {
    const ends = live(names);
    for (const name of ends) stopped.add(name);
    const isHere = name => name.startsWith('tab '), here = ends.filter(isHere), there = ends.filter(name => !isHere(name));
    if (here.length) window.steer2edit.halt(here);
    if (there.length) window.steer2edit.end?.(there);
  };
  const replace = names => {
    for (const name of live(names)) replaced.add(name);
    end(names);
  };

  window.steer2edit = {
    ...window.steer2edit, outdate,
    rested: made => {
      const shown = texts();
      if (shown && shown.dataset.edit === made) shown.classList.remove('outdated');
      else if (document.querySelector('#follow input')?.checked) document.querySelector('#run')?.click();
    },
    // A run begins, with a name of its own; one of its kind that is under way ends.
    begin: (stop, kind, queue) => {
      const runs = under_way[stop] ||= {}, name = `${queue} ${random()}`;
      replace(runs[kind] || []);
      runs[kind] = [...runs[kind] || [], name];
      mark(stop);
      if (queue !== 'tab') setTimeout(() => queued(stop, kind, name), WAITING_MS);
      return name;
    },
    // A run is over; tells whether something else follows from the same panel, so that nothing is to be put back.
    ended: (stop, kind) => {
      const runs = under_way[stop], name = (runs?.[kind] || []).shift();
      if (!runs) return false;
      stopped.delete(name);
      mark(stop);
      return replaced.delete(name) || live(Object.values(runs).flat()).length > 0;
    },
    // Something else was chosen: what is under way is not waited for.
    replace: stop => {
      replace(Object.values(under_way[stop] || {}).flat());
      if (under_way[stop]) mark(stop);
    },
    // Whether the server has still to answer, or to say that it was stopped.
    isAsked: (stop, kind) => (under_way[stop]?.[kind] || []).some(name => !name.startsWith('tab ')),
    isUnderWay: (stop, kind) => live(under_way[stop]?.[kind]).length > 0,
    stop: stop => {
      end(Object.values(under_way[stop] || {}).flat());
      if (under_way[stop]) mark(stop);
    },
    // A run that was stopped or failed leaves its texts as far as they came.
    broken: () => {
      const runs = under_way['stop-run'] || {};
      for (const [one, kind] of [[texts(), 'compare'], [answers(), 'rolls']]) {
        if (one?.getAttribute('aria-busy') !== 'true' || live(runs[kind]).length) continue;   // the next one has begun
        one.setAttribute('aria-busy', 'false');
        one.classList.add('outdated');
        if (one === texts()) for (const note of notes()) note.textContent = 'stopped';
      }
    },
  };
}

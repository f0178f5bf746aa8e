// The page's own small behaviours: undo by keyboard, and what follows a change of the edit once the dials rest.
() => {
  const RESTING_MS = 250;
  let timer = 0;
  const click = id => document.querySelector(`#${id}`)?.click();

  // Called by the page after every change of the edit. The table is large, so it follows when the dials rest.
  window.steer2edit = {
    changed: () => {
      const texts = document.querySelector('#texts .texts');
      texts?.classList.add('outdated');
      clearTimeout(timer);
      timer = setTimeout(() => {
        click('refresh');
        const current = document.querySelector('#summary [data-edit]')?.dataset.edit;
        if (texts && texts.dataset.edit === current) texts.classList.remove('outdated');
        else if (document.querySelector('#follow input')?.checked) click('run');
      }, RESTING_MS);
    },

    // A run that was stopped or failed leaves its texts as far as they came.
    ended: () => {
      const texts = document.querySelector('#texts .texts');
      if (texts?.getAttribute('aria-busy') !== 'true') return;
      texts.setAttribute('aria-busy', 'false');
      for (const note of texts.querySelectorAll('.note')) note.textContent = 'stopped';
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
}

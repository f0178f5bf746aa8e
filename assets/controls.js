// Controls: numbers that stay within their bounds, what each is for, and what screen readers are told of them.
() => {
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

  // What a control is for, where the pointer rests; the words are put in by components/page/look.py.
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

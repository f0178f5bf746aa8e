// Elements in one line. Text enters the page through textContent alone, so that nothing a visitor typed becomes markup.

export const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name in node && !name.includes('-')) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
};

/** Resolves with the element of an id, as soon as the page has it. */
export const arrival = id => new Promise(next => {
  const look = () => {
    const found = document.getElementById(id);
    if (found) next(found); else requestAnimationFrame(look);
  };
  look();
});

/** The number with the separators and the sign that the page uses. */
export const counted = number => number.toLocaleString('en');
export const signed = (number, digits) => (number < 0 && +number.toFixed(digits) ? '−' : '+') + Math.abs(number).toFixed(digits);
export const percent = (number, digits = 0) => `${(100 * number).toFixed(digits)}%`;
export const plural = (count, word) => `${counted(count)} ${word}${count === 1 ? '' : 's'}`;
/** A mean number, which need not be whole. */
export const roughly = number => number < 9.95 ? number.toFixed(1) : counted(Math.round(number));

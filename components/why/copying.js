// What goes home from a card: its numbers as JSON, a link to it, its pictures as PNG or SVG with what they are about.

import {make} from '../studio/dom.js';

const save = (name, blob) => {
  const link = make('a', {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
const fileName = ({model, behavior, name}) => `${model}-${behavior}-${name}`.replace(/[^\p{L}\p{N}]+/gu, '-').toLowerCase();

/** All pictures of a card below each other in one SVG of its own, its styles written in, with a caption. */
const drawing = (root, value) => {
  const space = 'http://www.w3.org/2000/svg', sheet = document.createElementNS(space, 'svg'), style = getComputedStyle(root);
  let y = 24;
  const line = (text, size = 12) => {
    const node = document.createElementNS(space, 'text');
    node.textContent = text;
    for (const [name, of] of Object.entries({x: 10, y, 'font-size': size, 'font-family': 'sans-serif', fill: style.color})) node.setAttribute(name, of);
    sheet.append(node);
    y += size + 8;
  };
  line(`${value.name} · ${value.behavior} · ${value.model}`, 14);
  for (const part of root.querySelectorAll('.why-picture')) {
    const box = part.viewBox.baseVal, copy = part.cloneNode(true);
    line(part.closest('tr')?.innerText.replace(/\s+/g, ' ').trim() || part.getAttribute('aria-label'));
    const all = [part, ...part.querySelectorAll('*')], copies = [copy, ...copy.querySelectorAll('*')];
    all.forEach((node, n) => {
      const found = getComputedStyle(node);
      for (const name of ['fill', 'stroke', 'stroke-width', 'fill-opacity', 'font-size', 'font-family']) copies[n].style[name] = found[name];
    });
    for (const [name, of] of Object.entries({x: 10, y, width: box.width, height: box.height})) copy.setAttribute(name, of);
    copy.removeAttribute('style');
    sheet.append(copy);
    y += box.height + 14;
  }
  for (const [name, of] of Object.entries({xmlns: space, width: 640, height: y, viewBox: `0 0 640 ${y}`, style: `background:${style.getPropertyValue('--paper')}`})) sheet.setAttribute(name, of);
  return {text: new XMLSerializer().serializeToString(sheet), width: 640, height: y, paper: style.getPropertyValue('--paper')};
};

const png = ({text, width, height, paper}) => new Promise(done => {
  const image = new Image(), canvas = make('canvas', {width: 2 * width, height: 2 * height});
  image.onload = () => {
    const brush = canvas.getContext('2d');
    brush.fillStyle = paper;
    brush.fillRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob(done, 'image/png');
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
});

export const copying = (root, value) => {
  const button = (textContent, told, onclick) => make('button', {type: 'button', textContent, title: told, onclick});
  return make('div', {className: 'why-copying'},
    button('JSON', 'All numbers of this card', () => save(`${fileName(value)}.json`, new Blob([JSON.stringify(value, null, 1)], {type: 'application/json'}))),
    button('SVG', 'The pictures of this card as a drawing', () => save(`${fileName(value)}.svg`, new Blob([drawing(root, value).text], {type: 'image/svg+xml'}))),
    button('PNG', 'The pictures of this card as an image', async () => save(`${fileName(value)}.png`, await png(drawing(root, value)))),
    button('Link', 'Copy the address of this card', async event => {
      await navigator.clipboard?.writeText(window.location.href);
      event.target.textContent = 'Copied';
    }));
};

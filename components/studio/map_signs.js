// What both pictures draw alike: the signs for what was added or left out by hand, the words along the axes, and the
// sheet that is saved as PNG. Knows a canvas, colours and texts; no component and no figure.

const drawSign = (ctx, kind, middle, half, ratio, inks) => {
  const [low, high] = [middle - half, middle + half];
  ctx.lineCap = 'round';
  for (const [color, width] of [[inks.paper, kind === 1 ? 3 : 4], [inks.line, 2]]) {   // paper around it sets it off
    ctx.beginPath();
    if (kind === 1) ctx.arc(middle, middle, half, 0, 7);
    else { ctx.moveTo(low, low); ctx.lineTo(high, high); ctx.moveTo(low, high); ctx.lineTo(high, low); }
    ctx.strokeStyle = color; ctx.lineWidth = width * ratio; ctx.fillStyle = inks.line;
    if (kind === 1 && color === inks.line) ctx.fill(); else ctx.stroke();
  }
};
const stamps = new Map();
/** A disc for what was added (kind 1), a cross for what was left out (kind 2); stamped, for there may be thousands. */
export const handSign = (ctx, kind, x, y, size, ratio, inks) => {
  const key = [kind, size, ratio, inks.line].join();
  let stamp = stamps.get(key);
  if (!stamp) {
    stamp = document.createElement('canvas');
    stamp.width = stamp.height = 2 * Math.ceil((size / 2 + 3) * ratio);
    drawSign(stamp.getContext('2d'), kind, stamp.width / 2, size * ratio / 2, ratio, inks);
    if (stamps.size > 50) stamps.clear();   // one for every size that cells have had
    stamps.set(key, stamp);
  }
  ctx.drawImage(stamp, Math.round(x - stamp.width / 2), Math.round(y - stamp.height / 2));
};

/** Writers of the words along the axes; positions in pixels of the device. */
export const axisText = (ctx, frame, font, inks) => {
  const {ratio, x, y, w, h} = frame;
  const write = (text, px, py, align, size = 11) => {
    ctx.font = `${size * ratio}px ${font}`;
    Object.assign(ctx, {textAlign: align, textBaseline: 'middle', fillStyle: inks.soft});
    ctx.fillText(text, px, py);
  };
  return {
    below: (px, text) => {   // kept whole at both ends
      ctx.font = `${11 * ratio}px ${font}`;
      const half = ctx.measureText(text).width / 2;
      write(text, Math.min(Math.max(px, half), frame.width - half), y + h + 12 * ratio, 'center');
    },
    left: (py, text) => write(text, x - 7 * ratio, py, 'right'),
    titles: (across, down) => {
      write(across, x + w / 2, y + h + 30 * ratio, 'center', 12);
      ctx.save();
      ctx.translate(8 * ratio, y + h / 2); ctx.rotate(-Math.PI / 2);
      write(down, 0, 0, 'center', 12);
      ctx.restore();
    },
  };
};

const SHEET = {pad: 18, top: 62};
/** Saves a picture on white, with its title, its caption and its colour scale. `paint` draws onto a given context. */
export const savePng = ({paint, frame, title, caption, ends, table, font, name}) => {
  const {ratio} = frame, canvas = document.createElement('canvas'), plot = document.createElement('canvas');
  const ctx = canvas.getContext('2d');
  canvas.width = frame.width + 2 * SHEET.pad * ratio;
  canvas.height = frame.height + (SHEET.top + SHEET.pad) * ratio;
  plot.width = frame.width; plot.height = frame.height;
  paint(plot.getContext('2d'));
  ctx.fillStyle = table.inks.paper; ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.drawImage(plot, SHEET.pad * ratio, SHEET.top * ratio);
  ctx.scale(ratio, ratio);
  const write = (text, x, y, font, color, align = 'left') => {
    Object.assign(ctx, {font, fillStyle: color, textAlign: align, textBaseline: 'middle'});
    ctx.fillText(text, x, y);
    return ctx.measureText(text).width;
  };
  const right = canvas.width / ratio - SHEET.pad - 8, bar = 110, [low, high] = ends;
  write(title, SHEET.pad + 8, 24, `600 15px ${font}`, table.inks.text);
  if (caption) write(caption, SHEET.pad + 8, 45, `12px ${font}`, table.inks.soft);
  const after = right - write(high, right, 24, `12px ${font}`, table.inks.soft, 'right') - 8;
  const ramp = ctx.createLinearGradient(after - bar, 0, after, 0);
  table.stops.forEach((color, i, all) => ramp.addColorStop(i / (all.length - 1), color));
  ctx.fillStyle = ramp; ctx.fillRect(after - bar, 19, bar, 10);
  write(low, after - bar - 8, 24, `12px ${font}`, table.inks.soft, 'right');
  canvas.toBlob(blob => {
    const link = Object.assign(document.createElement('a'), {href: URL.createObjectURL(blob), download: `${name}.png`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
};

// What an extraction says of every component: scores, weight norms, and where a component stands. Decoded once for each
// extraction; knows no dial. Components are numbered through all sites: a global number is offset[site] + index.

const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;
export const floats = text => new Float32Array(bytes(text));
export const doubles = text => new Float64Array(bytes(text));
export const whole = text => new Int32Array(bytes(text));

export const KINDS = ['heads', 'neurons'];

export const decode = sent => {
  const offset = [];
  let n = 0;
  for (const site of sent.sites) { offset.push(n); n += site.n; }
  const facts = {
    ...sent, n, offset, g: floats(sent.g), norms: floats(sent.norms), contributions: floats(sent.contributions),
  };
  facts.weight = facts.norms.reduce((sum, norm) => sum + norm * norm, 0);   // |W|^2 of all of them together
  facts.kinds = Object.fromEntries(KINDS.map(kind => [kind, kindFacts(facts, kind)]));
  return facts;
};

/** Of one kind: its sites, how many components it has, and their |g| from the strongest down. */
const kindFacts = (facts, kind) => {
  const sites = facts.sites.map((site, i) => site.kind === kind ? i : -1).filter(i => i >= 0);
  const count = sites.reduce((sum, i) => sum + facts.sites[i].n, 0);
  const ranked = new Float32Array(count);
  let at = 0;
  for (const i of sites) for (let c = 0; c < facts.sites[i].n; c++) ranked[at++] = Math.abs(facts.g[facts.offset[i] + c]);
  ranked.sort().reverse();
  return {kind, sites, count, ranked};
};

/** The site of a global number, by halving. */
export const siteOf = (facts, i) => {
  let low = 0, high = facts.offset.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (facts.offset[middle] <= i) low = middle; else high = middle - 1;
  }
  return low;
};
export const pairOf = (facts, i) => { const site = siteOf(facts, i); return [site, i - facts.offset[site]]; };
export const numberOf = (facts, [site, index]) => facts.offset[site] + index;
export const kindOf = (facts, i) => facts.sites[siteOf(facts, i)].kind;
export const layerOf = (facts, i) => facts.sites[siteOf(facts, i)].layer;

/** Position of a component in the row of its layer, as the heatmap counts it. */
export const columnOf = (facts, i) => {
  const at = siteOf(facts, i), {kind, layer} = facts.sites[at];
  const before = facts.sites.slice(0, at).filter(site => site.kind === kind && site.layer === layer);
  return i - facts.offset[at] + before.reduce((sum, site) => sum + site.n, 0);
};

/** "head 3", "expert 5 neuron 7", "neuron 7 (mlp.shared_experts)". */
export const nameOf = (facts, i) => {
  const site = facts.sites[siteOf(facts, i)], word = site.kind.slice(0, -1), index = i - facts.offset[siteOf(facts, i)];
  const each = site.n / (site.experts || 1);
  const expert = site.experts ? `expert ${Math.floor(index / each)} ` : '';
  return `${expert}${word} ${index % each}${site.where ? ` (${site.where})` : ''}`;
};

/** The grid of a kind for its pictures: global numbers by layer and column, -1 where a layer has no more. */
export const gridOf = (facts, kind) => {
  const rows = Array.from({length: facts.n_layers}, () => 0);
  for (const i of facts.kinds[kind].sites) rows[facts.sites[i].layer] += facts.sites[i].n;
  const widest = Math.max(0, ...rows), cells = new Int32Array(facts.n_layers * widest).fill(-1);
  rows.fill(0);
  for (const i of facts.kinds[kind].sites) {
    const {layer, n} = facts.sites[i];
    for (let c = 0; c < n; c++) cells[layer * widest + rows[layer] + c] = facts.offset[i] + c;
    rows[layer] += n;
  }
  return {layers: facts.n_layers, widest, cells};
};

// The forward pass of a small Llama: token by token with a key/value cache, many rows at once, each row under a variant of
// its own. A variant adds (a . x) u for every edit, and an offset, to what each projection writes (intervene.py of the
// core). Numbers between the layers are doubles, so that sums lose less than the float32 of the server.

import {dot, matmul} from './matmul.js';

/** {sizes, forward, cache} of config.json and the tensors of its checkpoint, by name. */
export const llama = (config, tensors) => {
  const {hidden_size: d, intermediate_size: mlp, num_hidden_layers: nLayers, vocab_size: vocabulary} = config;
  const heads = config.num_attention_heads, keyHeads = config.num_key_value_heads, width = config.head_dim ?? d / heads;
  const nKeys = keyHeads * width, nQueries = heads * width, limit = config.max_position_embeddings;
  const weight = name => tensors[name].data;
  const embedding = weight('model.embed_tokens.weight');
  const output = config.tie_word_embeddings ? embedding : weight('lm_head.weight');
  const layers = Array.from({length: nLayers}, (_, layer) => {
    const of = name => weight(`model.layers.${layer}.${name}.weight`);
    return {
      before: of('input_layernorm'), q: of('self_attn.q_proj'), k: of('self_attn.k_proj'), v: of('self_attn.v_proj'), o: of('self_attn.o_proj'),
      middle: of('post_attention_layernorm'), gate: of('mlp.gate_proj'), up: of('mlp.up_proj'), down: of('mlp.down_proj'),
      // Where the inputs of its two sites begin in the right vectors: heads, then neurons.
      inputs: [layer * (nQueries + mlp), layer * (nQueries + mlp) + nQueries],
    };
  });
  const [cosines, sines] = rotations(limit, width, config.rope_parameters?.rope_theta ?? config.rope_theta);
  const scale = 1 / Math.sqrt(width);
  let buffers = {lanes: 0};

  const buffersFor = lanes => {   // buffers of one pass, kept for the next
    if (buffers.lanes >= lanes) return buffers;
    const of = size => new Float64Array(lanes * size);
    buffers = {lanes, x: of(d), normed: of(d), q: of(nQueries), k: of(nKeys), v: of(nKeys), mixed: of(nQueries), gate: of(mlp), up: of(mlp), written: of(d), scores: new Float64Array(limit)};
    return buffers;
  };

  const norm = (out, x, weights, n) => {
    for (let r = 0; r < n; r++) {
      const at = r * d, factor = 1 / Math.sqrt(dot(x, at, x, at, d) / d + config.rms_norm_eps);
      for (let i = 0; i < d; i++) out[at + i] = x[at + i] * factor * weights[i];
    }
  };

  const rotate = (values, at, position) => {
    const half = width / 2, turn = position * half;
    for (let i = 0; i < half; i++) {
      const cos = cosines[turn + i], sin = sines[turn + i], one = values[at + i], other = values[at + half + i];
      values[at + i] = one * cos - other * sin;
      values[at + half + i] = other * cos + one * sin;
    }
  };

  /** What each lane reads from its row's cache, up to its own position. */
  const attend = ({q, mixed, scores}, {cache: {keys, values, room}, at}, lane, layer) => {
    const base = layer * room * nKeys;
    for (let head = 0; head < heads; head++) {
      const from = lane * nQueries + head * width, shared = base + Math.floor(head * keyHeads / heads) * width;
      let largest = -Infinity, sum = 0;
      for (let t = 0; t <= at; t++) {
        scores[t] = scale * dot(q, from, keys, shared + t * nKeys, width);
        if (scores[t] > largest) largest = scores[t];
      }
      for (let i = 0; i < width; i++) mixed[from + i] = 0;
      for (let t = 0; t <= at; t++) {
        const share = Math.exp(scores[t] - largest), place = shared + t * nKeys;
        sum += share;
        for (let i = 0; i < width; i++) mixed[from + i] += share * values[place + i];
      }
      for (let i = 0; i < width; i++) mixed[from + i] /= sum;
    }
  };

  /** x += W input, and what the lanes' variants add at this site. */
  const write = (x, written, input, w, lanes, nIn, inputAt, site) => {
    matmul(written, input, w, lanes.length, nIn, d);
    for (let r = 0; r < lanes.length; r++) {
      const {edits, offset} = lanes[r].variant, at = r * d;
      for (const {left, right} of edits) {
        const product = dot(input, r * nIn, right, inputAt, nIn);
        if (product !== 0) for (let i = 0; i < d; i++) written[at + i] += product * left[site * d + i];
      }
      if (offset) for (let i = 0; i < d; i++) written[at + i] += offset[site * d + i];
    }
    for (let i = 0; i < lanes.length * d; i++) x[i] += written[i];
  };

  /**
   * The logits (wanted lanes, vocabulary) of lanes {token, at, cache, variant}: one token at one position of one row. A
   * row's lanes come in the order of their positions, and may be many: a prompt is read in one pass.
   */
  const forward = (lanes, isWanted = () => true) => {
    const n = lanes.length, work = buffersFor(n), {x, normed, q, k, v, mixed, gate, up, written} = work;
    lanes.forEach(({token}, r) => x.set(embedding.subarray(token * d, (token + 1) * d), r * d));
    layers.forEach((layer, number) => {
      norm(normed, x, layer.before, n);
      matmul(q, normed, layer.q, n, d, nQueries);
      matmul(k, normed, layer.k, n, d, nKeys);
      matmul(v, normed, layer.v, n, d, nKeys);
      lanes.forEach(({at, cache}, r) => {
        for (let head = 0; head < heads; head++) rotate(q, r * nQueries + head * width, at);
        for (let head = 0; head < keyHeads; head++) rotate(k, r * nKeys + head * width, at);
        const place = (number * cache.room + at) * nKeys;
        cache.keys.set(k.subarray(r * nKeys, (r + 1) * nKeys), place);
        cache.values.set(v.subarray(r * nKeys, (r + 1) * nKeys), place);
      });
      lanes.forEach((lane, r) => attend(work, lane, r, number));
      write(x, written, mixed, layer.o, lanes, nQueries, layer.inputs[0], 2 * number);
      norm(normed, x, layer.middle, n);
      matmul(gate, normed, layer.gate, n, d, mlp);
      matmul(up, normed, layer.up, n, d, mlp);
      for (let i = 0; i < n * mlp; i++) gate[i] = up[i] * gate[i] / (1 + Math.exp(-gate[i]));   // SiLU
      write(x, written, gate, layer.down, lanes, mlp, layer.inputs[1], 2 * number + 1);
    });
    const wanted = lanes.map((_, r) => r).filter(r => isWanted(lanes[r]));
    wanted.forEach((r, place) => x.copyWithin(place * d, r * d, (r + 1) * d));
    norm(normed, x, weight('model.norm.weight'), wanted.length);
    const logits = new Float64Array(wanted.length * vocabulary);
    matmul(logits, normed, output, wanted.length, d, vocabulary);
    return logits;
  };

  /** Keys and values (layers, tokens, width) of one row of at most `tokens` tokens. */
  const newCache = tokens => ({room: tokens, keys: new Float32Array(nLayers * tokens * nKeys), values: new Float32Array(nLayers * tokens * nKeys)});
  /** A cache that begins with the first `length` positions of another. */
  const copyCache = (cache, length) => {
    const copy = newCache(cache.room);
    for (const name of ['keys', 'values']) for (let layer = 0; layer < nLayers; layer++) {
      const from = layer * cache.room * nKeys;
      copy[name].set(cache[name].subarray(from, from + length * nKeys), from);
    }
    return copy;
  };
  return {forward, newCache, copyCache, vocabulary, limit};
};

/** Cosines and sines of the rotary positions: (limit, width / 2), float32 as the server computes them. */
const rotations = (limit, width, theta) => {
  const half = width / 2, cosines = new Float32Array(limit * half), sines = new Float32Array(limit * half);
  for (let i = 0; i < half; i++) {
    const frequency = Math.fround(1 / Math.fround(theta ** Math.fround(2 * i / width)));
    for (let t = 0; t < limit; t++) {
      const angle = Math.fround(t * frequency);
      cosines[t * half + i] = Math.cos(angle);
      sines[t * half + i] = Math.sin(angle);
    }
  }
  return [cosines, sines];
};

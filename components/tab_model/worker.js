// The model in a worker of the tab: loads it once, writes answers part by part, and can be told to stop. Messages in:
// {load: address, turn}, {id, question}, {stop: id}. Messages out: {id, answers, done} or {id, error}, and {loaded} once.

import {llama} from './llama.js';
import {readTensors} from './safetensors.js';
import {tokenizer} from './tokenizer.js';
import {write} from './writing.js';

const stopped = new Set();
let loading = null;

const fetched = async (address, kind) => {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`The model could not be loaded: ${new URL(address).pathname} answers ${response.status}.`);
  return response[kind]();
};

/** A folder with the checkpoint's own files; `turn` is what the chat template writes before and after a prompt. */
const load = async (address, turn) => {
  const [config, generation, parts, weights] = await Promise.all([
    ['config.json', 'json'], ['generation_config.json', 'json'], ['tokenizer.json', 'json'], ['model.safetensors', 'arrayBuffer'],
  ].map(([name, kind]) => fetched(new URL(name, address).href, kind)));
  return {model: llama(config, readTensors(weights)), words: tokenizer(parts), turn, ends: [generation.eos_token_id].flat()};
};

const promptIds = ({model, words, turn}, prompt, length) => {
  const ids = words.encode(turn[0] + prompt + turn[1]);
  if (ids.length + length > model.limit) {
    throw new Error(`The prompt has ${ids.length} tokens and the answer up to ${length}; the model reads at most ${model.limit} in total. Shorten the prompt or the answer.`);
  }
  return ids;
};

const answer = async (id, {prompt, variants, rows, length, temperature}) => {
  const loaded = await loading, {model, words, ends} = loaded;
  const ids = promptIds({...loaded, turn: variants[0].turn ?? loaded.turn}, prompt, length);   // all variants of a question share it
  // While a text grows, it may end within a character.
  const tell = (written, done) => postMessage({id, done, answers: written.map(row => ({
    text: done ? words.decode(row) : words.decode(row).replace(/\ufffd+$/, ''), tokens: row.length,
  }))});
  const written = await write(model, {ids, variants, rows, ends, length, temperature}, () => stopped.has(id), row => tell(row, false));
  if (!stopped.delete(id)) tell(written, true);
};

onmessage = ({data}) => {
  if (data.load) {
    loading = load(data.load, data.turn);
    loading.then(() => postMessage({loaded: true}), error => postMessage({loaded: false, error: error.message}));
  } else if (data.stop) stopped.add(data.stop);
  else answer(data.id, data.question).catch(error => postMessage({id: data.id, error: error.message}));
};

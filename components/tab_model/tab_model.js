// The model as a page uses it: `compare` for texts side by side, `rolls` for several sampled answers a side. Each variant has
// a worker of its own, so that two sides are written at once; what the untouched model said is remembered.

const MOST_KEPT = 200;   // answers of the untouched model

/** `scripts` and `model` are addresses of folders, `turn` is of files.py; the model is fetched now. Resolves once it can answer. */
export const openTabModel = async ({scripts, model, turn, workers = 2}) => {
  const team = await Promise.all(Array.from({length: workers}, () => member(scripts, model, turn)));
  const kept = new Map();

  /** The answers of one variant; `grow` is told them while they are written. Rejects with null if it was stopped. */
  const ask = (variant, worker, question, runs, grow) => {
    const key = variant.edits.length || variant.offset ? null : JSON.stringify([question, variant.turn ?? null]);
    if (kept.has(key)) return kept.get(key);
    const rows = question.seeds.map(seed => ({variant: 0, seed})), {prompt, length, temperature} = question;
    return team[worker].ask({prompt, length, temperature, rows, variants: [variant]}, runs, grow).then(answers => {
      if (key !== null) kept.set(key, answers);
      if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
      return answers;
    });
  };

  const run = (variants, question, grow) => {
    const runs = [], latest = variants.map(() => []);
    const told = variants.map((variant, i) => ask(variant, (i + 1) % workers, question, runs, answers => { latest[i] = answers; grow?.(latest); }));
    return {answers: Promise.all(told), stop: () => { for (const end of runs) end(); }};
  };
  const seedsFrom = (seed, count) => Array.from({length: count}, (_, n) => seed + n);

  return {
    /** One text a variant: {answers: promise of [[{text, tokens}]], stop()}; `grow` is told the texts so far. */
    compare: (prompt, variants, {length, temperature, seed}, grow) => run(variants, {prompt, length, temperature, seeds: [seed]}, grow),
    /** `count` answers a variant; number n has the random seed `seed` + n, on every side. */
    rolls: (prompt, variants, {length, temperature, seed, count = 8}, grow) =>
      run(variants, {prompt, length, temperature, seeds: seedsFrom(seed, count)}, grow),
    close: () => { for (const one of team) one.close(); },
  };
};

/** One worker with its questions. */
const member = async (scripts, model, turn) => {
  const worker = new Worker(new URL('worker.js', scripts), {type: 'module'}), open = new Map();
  let next = 1;
  await new Promise((resolve, reject) => {
    worker.onmessage = ({data}) => data.loaded ? resolve() : reject(new Error(data.error));
    worker.onerror = event => reject(new Error(event.message || 'The model could not be started in this browser.'));
    worker.postMessage({load: String(model), turn});
  });
  worker.onmessage = ({data: {id, answers, done, error}}) => {
    const question = open.get(id);
    if (!question) return;   // it was stopped meanwhile
    if (!error && !done) { question.grow?.(answers); return; }
    open.delete(id);
    if (error) question.reject(new Error(error)); else question.resolve(answers);
  };
  const ask = (question, runs, grow) => new Promise((resolve, reject) => {
    const id = next++;
    open.set(id, {resolve, reject, grow});
    runs.push(() => { if (open.delete(id)) { worker.postMessage({stop: id}); reject(null); } });
    worker.postMessage({id, question});
  });
  return {ask, close: () => worker.terminate()};
};

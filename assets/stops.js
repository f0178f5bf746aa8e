// Stop buttons: when they can be pressed, and that each reaches its run and nothing else, however quick the visitor is.
() => {
  const click = id => document.querySelector(`#${id}`)?.click();

  // A Stop button can be pressed while one of its runs is under way, waiting for its turn included.
  const runs = {};
  const mark = (stop, run, on) => {
    const names = runs[stop] ||= new Set();
    names[on ? 'add' : 'delete'](run);
    const button = document.getElementById(stop);
    if (button) button.disabled = !names.size;
    if (stop === 'stop-run') window.steer2edit.waiting?.(on);
  };

  // Called by the page as a run begins and as it is over.
  window.steer2edit = {
    ...window.steer2edit,
    started: (stop, run) => mark(stop, run, true),
    ended: (stop, run) => {
      mark(stop, run, false);
      if (stop !== 'stop-run' || !again) return;
      again = false;
      setTimeout(() => click('run'));
    },
  };

  // A Stop reaches a run by the number that the server has given it, and a run that begins while the one before it is
  // being stopped would be taken for that one, and could not be stopped any more. So a Stop that is quicker than the
  // number waits for it, and a button that begins a run waits until a Stop has arrived, and the end of the run with it:
  // gradio tells that end twice, and the second time may be after the next run has begun.
  const RUNS = ['extract', 'run', 'ask-eight', 'checkpoint', 'adapter', 'recipe', 'control-vector', 'push', 'bring-use', 'generate',
    'measure-trust', 'find', 'sweep', 'go-on', 'progressive', 'leave-one-out', 'measure'];
  const numbers = {}, sent = {}, send = window.fetch;
  const ENDED_MS = 10_000;   // at the latest
  let stopping = 0, again = false;
  const ended = number => Promise.race([window.steer2edit.over?.(number), new Promise(next => setTimeout(next, ENDED_MS))]);
  const reach = async (url, options) => {
    const asked = JSON.parse(options.body);
    stopping++;
    try {
      asked.event_id ||= await numbers[asked.fn_index];
      if (!asked.event_id) return Response.json({});
      const told = sent[`${url} ${asked.event_id}`] ||= send(url, {...options, body: JSON.stringify(asked)});
      const answer = (await told).clone();   // of two that stop one run at once, the server would fail at the second
      await ended(asked.event_id);
      return answer;
    } finally { stopping--; }
  };
  window.fetch = (url, options) => {
    const [, path] = /\/gradio_api\/(queue\/join|cancel|reset)\b/.exec(url?.url || url) || [];
    if (!path || !options?.body) return send(url, options);
    if (path !== 'queue/join') return reach(url, options);
    const request = send(url, options), run = JSON.parse(options.body).fn_index;
    numbers[run] = request.then(answer => answer.clone().json()).then(answer => answer.event_id, () => null);
    return request;
  };
  const stopped = async () => {
    do await new Promise(next => setTimeout(next, 30)); while (stopping);   // the page follows within a turn or two
  };
  window.addEventListener('click', event => {
    const button = event.target.closest?.('button');
    if (button?.id === 'stop-run') again = false;
    if (!stopping && button?.id === 'run' && runs['stop-run']?.size) again = true;   // follows the one under way
    if (!stopping || !RUNS.includes(button?.id)) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    stopped().then(() => button.click());
  }, true);
}

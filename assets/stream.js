// Gradio's answers: that none stays away.
//
// The page hears of all its events in one stream, which the server closes when none is left. An event that begins at
// that moment may have its number before the page hears of the closing: gradio then takes the stream for open, opens no
// other, and the event is not answered until something else is done. So gradio gets the number of an event once the
// stream has spoken of it, or is closed.
() => {
  const send = window.fetch, NUMBER = /"event_id":\s*"([^"]+)"/g, LONGEST = 80;
  let stream = null;   // the one that is open

  const opened = signal => {
    const spoken = new Set(), waiting = new Map(), mine = stream = {
      heard: number => { spoken.add(number); waiting.get(number)?.(); },
      closed: () => {
        if (stream === mine) stream = null;
        for (const go of waiting.values()) go();
      },
      speaksOf: number => spoken.has(number) || new Promise(next => waiting.set(number, next)),
    };
    signal?.addEventListener('abort', mine.closed);   // so gradio leaves it
    return mine;
  };
  const listen = async (body, {heard, closed}) => {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (let rest = '', part; !(part = await reader.read()).done; rest = (rest + part.value).slice(-LONGEST)) {
        for (const [, number] of (rest + part.value).matchAll(NUMBER)) heard(number);   // one may be cut in two
      }
    } catch {} finally { closed(); }
  };
  const stay = async (url, options) => {
    const mine = opened(url?.signal || options?.signal);
    try {
      const answer = await send(url, options), [page, copy] = answer.body.tee();
      listen(copy, mine);
      return new Response(page, answer);
    } catch (error) {
      mine.closed();
      throw error;
    }
  };
  const join = async (url, options) => {
    const answer = await send(url, options), said = await answer.clone().json().catch(() => null);
    if (said?.event_id) await stream?.speaksOf(said.event_id);
    return answer;
  };
  window.fetch = (url, options) => {
    const [, path] = /\/gradio_api\/queue\/(join|data)\b/.exec(url?.url || url) || [];
    return path === 'join' ? join(url, options) : path === 'data' ? stay(url, options) : send(url, options);
  };
}

// Gradio's answers: that none stays away.
//
// The page hears of all its events in one stream, which the server closes when none is left. An event that begins at
// that moment may have its number before the page hears of the closing: gradio then takes the stream for open, opens no
// other, and the event is not answered until something else is done. So gradio gets the number of an event once the
// stream has spoken of it, or is closed.
() => {
  const send = window.fetch, NUMBER = /"event_id":\s*"([^"]+)"/g, LONGEST = 80;
  const spoken = new Set();   // the numbers that any stream spoke of
  let stream = null;          // the one that is open, with those who wait for their number

  const heard = number => { spoken.add(number); stream?.waiting.get(number)?.(); };
  const closed = one => {
    if (stream === one) stream = null;
    for (const go of one.waiting.values()) go();
  };
  const listening = one => {   // on the way to gradio, so that gradio knows of no event that is not heard of here
    const decoder = new TextDecoder();
    let rest = '';
    return new TransformStream({
      transform: (bytes, gradio) => {
        const text = rest + decoder.decode(bytes, {stream: true});
        for (const [, number] of text.matchAll(NUMBER)) heard(number);
        rest = text.slice(-LONGEST);   // a number may be cut in two
        gradio.enqueue(bytes);
      },
      flush: () => closed(one),
    });
  };
  const open = async (url, options) => {
    const mine = stream = {waiting: new Map()};
    (url?.signal || options?.signal)?.addEventListener('abort', () => closed(mine));   // so gradio leaves it
    try {
      const answer = await send(url, options);
      return new Response(answer.body.pipeThrough(listening(mine)), answer);
    } catch (error) {
      closed(mine);
      throw error;
    }
  };
  const join = async (url, options) => {
    const answer = await send(url, options), number = (await answer.clone().json().catch(() => null))?.event_id;
    if (number && stream && !spoken.has(number)) await new Promise(next => stream.waiting.set(number, next));
    return answer;
  };
  window.fetch = (url, options) => {
    const [, path] = /\/gradio_api\/queue\/(join|data)\b/.exec(url?.url || url) || [];
    return path === 'join' ? join(url, options) : path === 'data' ? open(url, options) : send(url, options);
  };
}

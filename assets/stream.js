// Gradio's answers: that none stays away.
//
// The page hears of all its events in one stream, which the server closes when none is left. An event that begins at
// that moment may have its number before the page hears of the closing: gradio then takes the stream for open, opens no
// other, and the event is not answered until something else is done. So gradio gets the number of an event once the
// stream has spoken of it, or is closed.
() => {
  const send = window.fetch, SPOKEN = /"msg":\s*"\w+",\s*"event_id":\s*"([^"]+)"/g, LONGEST = 160;
  const begun = new Set();                     // the numbers of events that any stream spoke of
  const waiting = new Set();
  let stream = null;                           // the one that is open

  const look = () => {
    for (const one of waiting) if (one.due()) { waiting.delete(one); one.next(); }
  };
  const heard = number => {
    begun.add(number);
    look();
  };
  const closed = one => {
    if (stream === one) stream = null;
    look();
  };
  const told = number => {   // or the stream is closed that would have told it
    const mine = stream, due = () => !mine || mine !== stream || begun.has(number);
    return new Promise(next => { waiting.add({due, next}); look(); });
  };
  const listening = one => {   // on the way to gradio, so that gradio knows of no event that is not heard of here
    const decoder = new TextDecoder();
    let rest = '';
    return new TransformStream({
      transform: (bytes, gradio) => {
        const text = rest + decoder.decode(bytes, {stream: true});
        for (const [, number] of text.matchAll(SPOKEN)) heard(number);
        rest = text.slice(-LONGEST);   // a message may come in parts
        gradio.enqueue(bytes);
      },
      flush: () => closed(one),
    });
  };
  const open = async (url, options) => {
    const mine = stream = {};
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
    if (number) await told(number);
    return answer;
  };
  window.fetch = (url, options) => {
    const [, path] = /\/gradio_api\/queue\/(join|data)\b/.exec(url?.url || url) || [];
    return path === 'join' ? join(url, options) : path === 'data' ? open(url, options) : send(url, options);
  };
}

// A tab's part in a room: it opens or joins one, sends a prediction, and looks whether the teacher has revealed them.
// Knows the server's questions; what is kept of a room is kept in the tab.

const KEPT = 'steer2edit room';
const LOOK_MS = 2000;

const random = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), one => one.toString(36)).join('').slice(0, 28);
const read = () => { try { return JSON.parse(sessionStorage.getItem(KEPT)); } catch { return null; } };
const write = room => {
  try { sessionStorage.setItem(KEPT, JSON.stringify(room)); } catch { /* then it lasts until a reload */ }
};

/** {code, key, voter} or null, and what can be asked about it; an answer with `error` is a sentence. */
export const rooms = server => {
  let room = server.open_room ? read() : null;   // a page without a server has no rooms
  const keep = next => { room = next; write(next); return next; };
  const asked = async (question, step, more = {}) => {
    try {
      return await server[question]({code: room.code, step, ...more});
    } catch {
      return {error: null};   // no network: the next look tells
    }
  };
  return {
    offered: Boolean(server.open_room),
    now: () => room,
    isTeacher: () => Boolean(room?.key),
    open: async lesson => {
      const answer = await server.open_room({lesson});
      if (!answer.error) keep({...answer, voter: random()});
      return answer;
    },
    join: code => { if (room?.code !== code) keep({code, key: '', voter: random()}); },
    leave: () => keep(null),
    predict: (step, option) => asked('predict', step, {voter: room.voter, option}),
    reveal: step => asked('reveal', step, {key: room.key}),
    /** Calls `tell` with what is known of a step, again and again until it is revealed or `stop` is called. */
    follow: (step, tell) => {
      let timer = 0, over = false;
      const look = async () => {
        const answer = await asked('look', step);
        if (over) return;
        if (answer.error !== null) tell(answer);
        const isOver = Boolean(answer.error) || answer.revealed;   // the room is gone, or nothing more is to come
        if (!isOver) timer = setTimeout(look, LOOK_MS);
      };
      look();
      return () => { over = true; clearTimeout(timer); };
    },
  };
};

/** A code as it is read out: two groups. */
export const spoken = code => `${code.slice(0, 4)} ${code.slice(4)}`;

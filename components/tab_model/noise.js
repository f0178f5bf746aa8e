// The random numbers of torch: the generator mt19937 and, from it, Gumbel noise as s2e_core/generation/decoding.py draws
// it (the negative logarithm of an exponential number), so that a seed gives the same sample here and there.

const N = 624, M = 397;

/** A function that gives the next 32 random bits after `torch.Generator().manual_seed(seed)`. */
export const mersenneTwister = seed => {
  const state = new Uint32Array(N);
  state[0] = Number(BigInt.asUintN(32, BigInt(seed)));   // torch, too, reads only these bits of a seed
  for (let i = 1; i < N; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let at = N;
  const twist = () => {
    for (let i = 0; i < N; i++) {
      const mixed = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
      state[i] = state[(i + M) % N] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    at = 0;
  };
  return () => {
    if (at === N) twist();
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
};

/** A function that fills an array with the noise of the next step. */
export const gumbel = seed => {
  const bits = mersenneTwister(seed);
  return values => {
    for (let i = 0; i < values.length; i++) {
      const high = bits() & 0x1fffff, low = bits();   // 53 bits: a uniform double in [0, 1)
      const exponential = Math.fround(-Math.log1p(-(high * 4294967296 + low) / 9007199254740992));
      values[i] = -Math.fround(Math.log(exponential));
    }
    return values;
  };
};

// Products of many rows with one matrix: out[r, o] = sum over i of x[r, i] * w[o, i]. Four rows and two outputs at a time,
// so that every weight that is read serves four rows. Sums are in double precision; knows no model.

/** Four rows from `r` on. */
const fourRows = (out, x, w, r, nIn, nOut) => {
  const a = r * nIn, b = a + nIn, c = b + nIn, d = c + nIn;
  let o = 0;
  for (; o + 1 < nOut; o += 2) {
    const p = o * nIn, q = p + nIn;
    let a0 = 0, b0 = 0, c0 = 0, d0 = 0, a1 = 0, b1 = 0, c1 = 0, d1 = 0;
    for (let i = 0; i < nIn; i++) {
      const w0 = w[p + i], w1 = w[q + i], xa = x[a + i], xb = x[b + i], xc = x[c + i], xd = x[d + i];
      a0 += w0 * xa; b0 += w0 * xb; c0 += w0 * xc; d0 += w0 * xd;
      a1 += w1 * xa; b1 += w1 * xb; c1 += w1 * xc; d1 += w1 * xd;
    }
    const at = r * nOut + o;
    out[at] = a0; out[at + nOut] = b0; out[at + 2 * nOut] = c0; out[at + 3 * nOut] = d0;
    out[at + 1] = a1; out[at + nOut + 1] = b1; out[at + 2 * nOut + 1] = c1; out[at + 3 * nOut + 1] = d1;
  }
  if (o < nOut) for (let k = r; k < r + 4; k++) out[k * nOut + o] = dot(x, k * nIn, w, o * nIn, nIn);
};

/** One row, four outputs at a time. */
const oneRow = (out, x, w, r, nIn, nOut) => {
  const a = r * nIn;
  let o = 0;
  for (; o + 3 < nOut; o += 4) {
    const p0 = o * nIn, p1 = p0 + nIn, p2 = p1 + nIn, p3 = p2 + nIn;
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let i = 0; i < nIn; i++) {
      const value = x[a + i];
      s0 += w[p0 + i] * value; s1 += w[p1 + i] * value; s2 += w[p2 + i] * value; s3 += w[p3 + i] * value;
    }
    const at = r * nOut + o;
    out[at] = s0; out[at + 1] = s1; out[at + 2] = s2; out[at + 3] = s3;
  }
  for (; o < nOut; o++) out[r * nOut + o] = dot(x, a, w, o * nIn, nIn);
};

export const dot = (x, xAt, w, wAt, n) => {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += x[xAt + i] * w[wAt + i];
  return sum;
};

/** `x` (rows, nIn) and `out` (rows, nOut) are Float64Array, `w` (nOut, nIn) is Float32Array. */
export const matmul = (out, x, w, rows, nIn, nOut) => {
  let r = 0;
  for (; r + 3 < rows; r += 4) fourRows(out, x, w, r, nIn, nOut);
  for (; r < rows; r++) oneRow(out, x, w, r, nIn, nOut);
};

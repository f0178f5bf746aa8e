// A safetensors file as Float32Array by name: 8 bytes with the length of a JSON header, the header, then the numbers.

/** {name: {shape, data}} of a file's bytes. Throws an Error that names a tensor of another number format. */
export const readTensors = buffer => {
  const length = Number(new DataView(buffer).getBigUint64(0, true)), start = 8 + length;
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  delete header.__metadata__;
  for (const [name, {dtype, shape, data_offsets: [from, to]}] of Object.entries(header)) {
    const bytes = buffer.slice(start + from, start + to);
    if (dtype !== 'BF16' && dtype !== 'F32') throw new Error(`The weights "${name}" are ${dtype}; expected BF16 or F32.`);
    tensors[name] = {shape, data: dtype === 'F32' ? new Float32Array(bytes) : fromBfloat16(new Uint16Array(bytes))};
  }
  return tensors;
};

/** bfloat16 is the upper half of float32. */
const fromBfloat16 = halves => {
  const words = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) words[i] = halves[i] << 16;
  return new Float32Array(words.buffer);
};

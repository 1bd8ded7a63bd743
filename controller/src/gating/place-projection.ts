/** Dimensions that corrections are learned in: one expert's few dozen observations tell nothing of more. */
export const PLACE_DIMENSIONS = 16;
const MOST_INPUTS = 256;

/** Signs by input and output, from an integer hash: the same on every machine. */
const SIGNS = new Int8Array(MOST_INPUTS * PLACE_DIMENSIONS).map((_, at) => {
  let mixed = Math.imul(at + 1, 0x9e3779b1);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
  return ((mixed ^ (mixed >>> 13)) & 1) === 0 ? 1 : -1;
});

/**
 * A prompt's place in few dimensions: random signs keep angles to within about 1 / sqrt(dimensions) (Achlioptas 2003). A
 * place of few dimensions stays as it is; undefined stays undefined.
 */
export function projectedPlace(embedding: ArrayLike<number> | undefined): ArrayLike<number> | undefined {
  if (embedding === undefined || embedding.length <= PLACE_DIMENSIONS) return embedding;
  const place = new Float64Array(PLACE_DIMENSIONS);
  const inputs = Math.min(MOST_INPUTS, embedding.length);
  const scale = 1 / Math.sqrt(PLACE_DIMENSIONS);
  for (let from = 0; from < inputs; from++) {
    const value = scale * (embedding[from] ?? 0);
    for (let into = 0; into < PLACE_DIMENSIONS; into++) {
      place[into] = (place[into] ?? 0) + value * (SIGNS[from * PLACE_DIMENSIONS + into] ?? 0);
    }
  }
  return place;
}

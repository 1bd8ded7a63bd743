/** Bits of one document, computed with a mask and by the file that was written after it. */
export interface MaskedAndWritten {
  readonly masked: number;
  readonly written: number;
}

/** Share of its bits that a document is off by, root mean square. Measured: rounding 0.0003, one wrong slab 0.002. */
const ROUNDING = 0.001;
/** Of one document, where a token goes to another slab. Measured: 0.0023. */
const OUTLIER = 0.005;

/**
 * What shows that a pruned file does not compute what the mask computes; undefined where it does. Most documents are equal
 * bit for bit, not all: a softmax over fewer slabs adds in another order, activations that become 8 bits make more of the
 * last place, and a token whose slabs are almost tied may go to another one. A wrong slab changes every document that uses
 * it, so that the squares of the shares tell the two apart: `n ROUNDING^2 + OUTLIER^2` at most for `n` documents.
 */
export function disagreement(documents: readonly MaskedAndWritten[]): string | undefined {
  const squares = documents.map(({ masked, written }) => {
    const square = ((written - masked) / Math.max(1, masked)) ** 2;
    return Number.isNaN(square) ? Infinity : square;
  });
  const sum = squares.reduce((total, square) => total + square, 0);
  if (sum <= documents.length * ROUNDING ** 2 + OUTLIER ** 2) return undefined;
  const worst = squares.reduce((most, square, i) => (square <= (squares[most] ?? 0) ? most : i), 0);
  const { masked, written } = documents[worst] ?? { masked: NaN, written: NaN };
  const share = Math.sqrt(sum / documents.length);
  return (
    `${documents.length} documents differ by ${(100 * share).toFixed(2)} % of their bits, ` +
    `document ${worst} most: ${written.toFixed(4)} bits, expected ${masked.toFixed(4)}`
  );
}

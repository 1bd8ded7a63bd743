/** One range of an artefact: bytes `start` to before `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
  readonly sha256: string;
}

/**
 * The ranges that hold the bytes from `offset` on, in order. The first may begin before it: only whole ranges have digests.
 * Undefined where the digests do not fit the size: who gave them means another file.
 */
export function rangesFrom(
  offset: number,
  sizeBytes: number,
  { rangeBytes, ranges }: { readonly rangeBytes: number; readonly ranges: readonly string[] },
): readonly Range[] | undefined {
  if (ranges.length !== Math.ceil(sizeBytes / rangeBytes)) return undefined;
  return ranges
    .map((sha256, i) => ({ start: i * rangeBytes, end: Math.min(sizeBytes, (i + 1) * rangeBytes), sha256 }))
    .filter(({ end }) => end > offset);
}

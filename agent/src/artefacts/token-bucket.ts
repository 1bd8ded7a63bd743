/** An allowance of bytes that grows with time up to one second's worth (token bucket, as in RFC 2697 with one rate). */
export interface TokenBucket {
  /** Below 0 what was taken ahead of time. */
  readonly bytes: number;
  readonly atMs: number;
}

export const fullBucket = (bytesPerS: number, nowMs: number): TokenBucket => ({ bytes: bytesPerS, atMs: nowMs });

/**
 * Takes `bytes` at once and says how long to wait before they may be sent, milliseconds. A piece larger than the bucket
 * passes after a longer wait; a clock that went back adds nothing.
 */
export function takeBytes(
  bucket: TokenBucket,
  bytes: number,
  bytesPerS: number,
  nowMs: number,
): { readonly bucket: TokenBucket; readonly waitMs: number } {
  const grown = (Math.max(0, nowMs - bucket.atMs) * bytesPerS) / 1000;
  const left = Math.min(bytesPerS, bucket.bytes + grown) - bytes;
  return { bucket: { bytes: left, atMs: nowMs }, waitMs: left >= 0 ? 0 : (-left * 1000) / bytesPerS };
}

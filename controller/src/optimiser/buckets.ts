/** Positions in order of a small whole-number key: those of key `b` are `order[starts[b]]` to `order[starts[b + 1] - 1]`. */
export interface Buckets {
  readonly starts: Int32Array;
  readonly order: Int32Array;
}

/** 0, 1, ... length - 1. */
export function positions(length: number): Int32Array {
  const all = new Int32Array(length);
  for (let i = 0; i < length; i++) all[i] = i;
  return all;
}

/** Stable counting sort of positions by key, 0 <= key < size. O(positions + size), without objects per position. */
export function bucketed(order: Int32Array, size: number, key: (position: number) => number): Buckets {
  const keys = new Int32Array(order.length);
  const starts = new Int32Array(size + 1);
  for (let i = 0; i < order.length; i++) {
    const at = key(order[i] ?? 0);
    keys[i] = at;
    starts[at + 1] = (starts[at + 1] ?? 0) + 1;
  }
  for (let b = 0; b < size; b++) starts[b + 1] = (starts[b + 1] ?? 0) + (starts[b] ?? 0);
  const next = starts.slice();
  const sorted = new Int32Array(order.length);
  for (let i = 0; i < order.length; i++) {
    const at = keys[i] ?? 0;
    const to = next[at] ?? 0;
    sorted[to] = order[i] ?? 0;
    next[at] = to + 1;
  }
  return { starts, order: sorted };
}

import type { Projection, SlabLayout } from '../gguf/slab-layout.js';

/** Bytes of a file that start and end with a page. */
export interface PageRange {
  readonly offset: number;
  readonly bytes: number;
}

/** Pages of a slab in one of its tensors. */
export type SlabRange = PageRange & { readonly projection: Projection };

/** The pages of a file that belong to slabs alone. */
export interface SlabPages {
  readonly layers: number;
  readonly slabsPerLayer: number;
  /** Of each slab (`layer * slabsPerLayer + slab`), one range a tensor. */
  readonly ranges: readonly (readonly SlabRange[])[];
  /** Bytes of the ranges of one slab: the most in its layer. */
  readonly slabBytes: readonly number[];
  /** All ranges, those that touch taken together; ascending. */
  readonly spans: readonly PageRange[];
}

/**
 * Finds the pages that hold nothing but one slab's bytes.
 *
 * Where a file's alignment or a slab's length is no multiple of the page, a slab's first and last pages hold bytes of its
 * neighbours as well: those are not the slab's, and stay in memory whatever happens (at most 2 pages a slab and tensor). So
 * offsets, lengths and addresses are those of pages for any file, as direct I/O wants them.
 */
export function slabPages(layout: SlabLayout, pageBytes: number): SlabPages {
  const { slabsPerLayer, layers } = layout;
  const ranges: SlabRange[][] = [];
  const slabBytes: number[] = [];
  for (const { tensors } of layers) {
    let most = 0;
    for (let slab = 0; slab < slabsPerLayer; slab++) {
      const own = tensors
        .map(({ projection, offset, stride }) => ({
          projection,
          ...insidePages(offset + slab * stride, stride, pageBytes),
        }))
        .filter(({ bytes }) => bytes > 0);
      ranges.push(own);
      most = Math.max(
        most,
        own.reduce((sum, { bytes }) => sum + bytes, 0),
      );
    }
    slabBytes.push(most);
  }
  return { layers: layers.length, slabsPerLayer, ranges, slabBytes, spans: joined(ranges.flat()) };
}

/** What of a range are whole pages. */
export function insidePages(offset: number, length: number, pageBytes: number): PageRange {
  const first = Math.ceil(offset / pageBytes) * pageBytes;
  const end = Math.floor((offset + length) / pageBytes) * pageBytes;
  return { offset: first, bytes: Math.max(0, end - first) };
}

function joined(ranges: readonly PageRange[]): PageRange[] {
  const spans: PageRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.offset - b.offset)) {
    const last = spans.at(-1);
    if (last !== undefined && last.offset + last.bytes === range.offset) {
      spans[spans.length - 1] = { offset: last.offset, bytes: last.bytes + range.bytes };
    } else {
      spans.push(range);
    }
  }
  return spans;
}

/** What lies between the spans in a file: the bytes that are needed whatever happens. */
export function bytesBetween(spans: readonly PageRange[], fileBytes: number): PageRange[] {
  const between: PageRange[] = [];
  let at = 0;
  for (const { offset, bytes } of spans) {
    if (offset > at) between.push({ offset: at, bytes: offset - at });
    at = offset + bytes;
  }
  if (fileBytes > at) between.push({ offset: at, bytes: fileBytes - at });
  return between;
}

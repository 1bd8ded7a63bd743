import { readFileSync } from 'node:fs';

import { FleetError } from '@fleetgate/shared/errors';

import type { Address } from '../native/linux-libc.js';

interface Segment {
  readonly start: Address;
  readonly end: Address;
  /** Place in the file of its first byte. */
  readonly offset: number;
}

/** Where the pages of a mapped file are in this process. */
export class FileMapping {
  readonly #segments: readonly Segment[];
  readonly #path: string;

  constructor(segments: readonly Segment[], path: string) {
    this.#segments = segments;
    this.#path = path;
  }

  /** Address of a range of the file. Throws `engine.unavailable` where the range is not mapped in one piece. */
  addressOf(offset: number, bytes: number): Address {
    for (const { start, end, offset: first } of this.#segments) {
      const at = start + offset - first;
      if (offset >= first && at + bytes <= end) return at;
    }
    throw new FleetError('engine.unavailable', `${this.#path}: ${bytes} bytes at ${offset} are not mapped`, {
      hint: 'llama.cpp has loaded the file otherwise than by mapping it; residency `none` works with it',
    });
  }
}

/** Reads `/proc/self/maps`. `path` without symbolic links. */
export function findMapping(path: string): FileMapping {
  return new FileMapping(
    parseMaps(readFileSync('/proc/self/maps', 'latin1'), Buffer.from(path).toString('latin1')),
    path,
  );
}

/** Segments of one file in the text of `/proc/<pid>/maps`, neighbours that continue each other taken together. */
export function parseMaps(text: string, path: string): Segment[] {
  const segments: Segment[] = [];
  // The kernel writes a line feed in a name as an escape.
  const name = path.replaceAll('\n', '\\012');
  for (const line of text.split('\n')) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ +(\/.*)$/.exec(line);
    if (match === null || match[4] !== name) continue;
    const [start, end, offset] = [match[1], match[2], match[3]].map((hex) => Number.parseInt(hex ?? '', 16));
    if (start === undefined || end === undefined || offset === undefined) continue;
    const last = segments.at(-1);
    if (last !== undefined && last.end === start && last.offset + (last.end - last.start) === offset) {
      segments[segments.length - 1] = { ...last, end };
    } else {
      segments.push({ start, end, offset });
    }
  }
  return segments;
}

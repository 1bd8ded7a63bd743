import { describe, expect, it } from 'vitest';

import { adapterBytesOf, buildKey, filesOf, type ServedAdapter, servingSchema } from './serving.js';

const sha = (digit: string): string => digit.repeat(64);
const POET: ServedAdapter = { sha256: sha('a'), sizeBytes: 100, scale: 1 };
const TERSE: ServedAdapter = { sha256: sha('b'), sizeBytes: 20, scale: 0.5 };

const several = (length: number): ServedAdapter[] => Array.from({ length }, () => ({ ...POET }));

describe('servingSchema', () => {
  it.each([[[POET]], [[POET, { ...TERSE, scale: -0.5 }]], [several(8)]])('takes %j', (adapters) =>
    expect(servingSchema.parse({ adapters })).toEqual({ adapters }),
  );

  it.each([
    ['no adapter', []],
    ['more than eight', several(9)],
    ['a scale that is no number', [{ ...POET, scale: NaN }]],
    ['an endless scale', [{ ...POET, scale: Infinity }]],
    ['a digest that is none', [{ ...POET, sha256: 'a' }]],
    ['an empty file', [{ ...POET, sizeBytes: 0 }]],
  ])('refuses %s', (_, adapters) => expect(servingSchema.safeParse({ adapters }).success).toBe(false));
});

describe('a build with adapters', () => {
  const key = (...adapters: readonly ServedAdapter[]): string =>
    buildKey({ sha256: sha('f'), serving: { adapters: [...adapters] } });

  it('is another one with each set of them, each scale and each order', () => {
    const builds = [
      buildKey({ sha256: sha('f') }),
      key(POET),
      key({ ...POET, scale: 0.5 }),
      key(TERSE),
      key(POET, TERSE),
      key(TERSE, POET),
    ];
    expect(new Set(builds).size).toBe(builds.length);
    expect(key({ ...POET })).toBe(key(POET));
  });

  it('is served from its own file and theirs, and takes their bytes besides', () => {
    const build = { sha256: sha('f'), sizeBytes: 1000, serving: { adapters: [POET, TERSE] } };
    expect(filesOf(build).map(({ sizeBytes }) => sizeBytes)).toEqual([1000, 100, 20]);
    expect(filesOf({ sha256: sha('f'), sizeBytes: 1000 })).toEqual([{ sha256: sha('f'), sizeBytes: 1000 }]);
    expect([adapterBytesOf(build.serving), adapterBytesOf(undefined)]).toEqual([120, 0]);
  });
});

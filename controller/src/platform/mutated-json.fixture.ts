import fc from 'fast-check';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = Readonly<Record<string, Json>>;

const nasty: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(
    null,
    true,
    -1,
    0,
    -0,
    0.5,
    1e308,
    2 ** 53,
    '',
    ' ',
    'auto',
    'ensemble',
    'vote',
    [],
    {},
    [[]],
    [null],
  ),
  fc.constantFrom<Json>('\u0000', '\ud800', '../..', '%zz', 'https://x/%zz.gguf', '__proto__', 'toString', '\u202e'),
  fc.constantFrom<Json>(
    'x'.repeat(70_000),
    Array.from({ length: 2000 }, () => 'x'),
    { toString: 1, length: -1 },
  ),
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>,
);

type Change =
  | { readonly kind: 'replace'; readonly at: number; readonly by: Json }
  | { readonly kind: 'remove'; readonly at: number }
  | { readonly kind: 'rename'; readonly at: number; readonly to: string }
  | { readonly kind: 'repeat'; readonly at: number; readonly times: number };

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant('replace' as const), at: fc.nat(), by: nasty }),
  fc.record({ kind: fc.constant('remove' as const), at: fc.nat() }),
  fc.record({
    kind: fc.constant('rename' as const),
    at: fc.nat(),
    to: fc.constantFrom('__proto__', 'constructor', '', 'x'),
  }),
  fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(), times: fc.constantFrom(2, 300) }),
);

/** Bytes of one of `documents` with a few faults: in what it says, and now and then in how it is written. */
export function mutatedJson(documents: readonly JsonObject[]): fc.Arbitrary<Buffer> {
  const scratch = fc.option(fc.record({ at: fc.nat(), by: fc.uint8Array({ maxLength: 3 }), gone: fc.nat(4) }), {
    freq: 3,
  });
  return fc
    .record({
      document: fc.constantFrom(...documents),
      changes: fc.array(change, { minLength: 1, maxLength: 3 }),
      scratch,
    })
    .map((one) => {
      const bytes = Buffer.from(JSON.stringify(one.changes.reduce<Json>(changed, one.document)) ?? '');
      if (one.scratch === null) return bytes;
      const at = one.scratch.at % (bytes.length + 1);
      return Buffer.concat([bytes.subarray(0, at), one.scratch.by, bytes.subarray(at + one.scratch.gone)]);
    });
}

/** `value` with one change, at the place whose number it is, counted depth first. */
function changed(value: Json, one: Change): Json {
  let left = one.at % placesIn(value);
  const visit = (here: Json): Json => {
    if (typeof here !== 'object' || here === null) return here;
    const entries = Object.entries(here).flatMap(([key, child]): (readonly [string, Json])[] => {
      const isHere = left === 0;
      left -= 1;
      if (!isHere) return [[key, visit(child)]];
      switch (one.kind) {
        case 'replace':
          return [[key, one.by]];
        case 'remove':
          return [];
        case 'rename':
          return [[one.to, child]];
        case 'repeat':
          return Array.isArray(here)
            ? Array.from({ length: one.times }, () => [key, child] as const)
            : [[key, [child, child]]];
      }
    });
    return Array.isArray(here) ? entries.map(([, child]) => child) : Object.fromEntries(entries);
  };
  return visit(value);
}

function placesIn(value: Json): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Math.max(
    1,
    Object.values(value).reduce<number>((sum, child) => sum + 1 + (isLeaf(child) ? 0 : placesIn(child)), 0),
  );
}

const isLeaf = (value: Json): boolean => typeof value !== 'object' || value === null;

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { FleetError } from '@fleetgate/shared/errors';

import { grammarText } from './llama-grammar.js';

const MOST = 64 * 1024;

const codeOf = (error: unknown): string => (error instanceof FleetError ? error.code : String(error));
const outcome = async (text: string): Promise<string | undefined> =>
  grammarText({ kind: 'gbnf', text }).then(() => undefined, codeOf);

describe('grammarText', () => {
  it('refuses rules whose repetitions come to too many, however they are written', async () => {
    const space = fc.constantFrom('', ' ', '\n', ' # {9}\n');
    const counted = fc
      .tuple(fc.nat(20_000), fc.constantFrom('exact', 'open', 'range'), space)
      .map(([n, form, gap]) => ({
        n,
        text: form === 'exact' ? `{${gap}${n}${gap}}` : form === 'open' ? `{${n}${gap},${gap}}` : `{0,${gap}${n}}`,
      }));
    await fc.assert(
      fc.asyncProperty(fc.array(counted, { maxLength: 12 }), async (all) => {
        const sum = all.reduce((total, { n }) => total + n, 0);
        const text = `root ::= ${all.map(({ text: repeat }) => `[a]${repeat}`).join(' ')}`;
        expect(await outcome(text)).toBe(sum > MOST ? 'request.invalid' : undefined);
      }),
    );
  });

  it('counts no braces in texts, classes of characters and comments', async () => {
    const text = 'root ::= "{99999}" [{99999}] "\\"{99999}" # {99999}\n';
    expect(await outcome(text)).toBeUndefined();
    expect(await outcome(`${text} "a"{99999}`)).toBe('request.invalid');
  });

  it('never fails in another way on any text of brackets and counts', async () => {
    const piece = fc.constantFrom('(', ')', '{', '}', ',', '[', ']', '"', '\\', '#', '\n', 'a', '9', '99999', ' ');
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 400 }), async (pieces) => {
        expect(['request.invalid', undefined]).toContain(await outcome(pieces.join('')));
      }),
    );
  });

  it.each(['{', '{1,', '"', '[', '{ 1', '#'])('reads on in one go after %s without an end', async (start) => {
    for (const filling of [' ', '9', '{', 'a']) {
      expect(await outcome(`root ::= "a"${start}${filling.repeat(250_000)}`)).toBeUndefined();
    }
  });

  it('refuses a schema whose counts are beyond llama.cpp, or come to too many together', async () => {
    const schemaOutcome = async (schema: Readonly<Record<string, unknown>>): Promise<string> =>
      grammarText({ kind: 'json-schema', schema }).then(
        () => 'taken',
        (error: unknown) => `${codeOf(error)}: ${String(error)}`,
      );
    const strings = (count: number): Record<string, unknown> => ({
      type: 'object',
      properties: Object.fromEntries(
        Array.from({ length: count }, (_, i) => [`p${i}`, { type: 'string', maxLength: 1900 }]),
      ),
    });
    expect(await schemaOutcome(strings(4))).toBe('taken');
    expect(await schemaOutcome(strings(40))).toMatch(/^request\.invalid: .*76000 repetitions/);
    const long = { type: 'array', items: { type: 'string' }, minItems: 1e9 };
    expect(await schemaOutcome(long)).toMatch(/^request\.invalid: /);
    const named = { type: 'object', properties: { maxLength: { type: 'number' } } };
    expect(await schemaOutcome(named)).toBe('taken');
  });
});

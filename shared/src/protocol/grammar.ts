import { z } from 'zod';

/** What an answer has to be like: JSON that keeps a schema, or a text of a grammar (GBNF, as llama.cpp reads it). */
export const grammarSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('json-schema'), schema: z.record(z.string(), z.unknown()) }),
  z.object({ kind: z.literal('gbnf'), text: z.string().min(1) }),
]);
export type Grammar = z.infer<typeof grammarSchema>;

/** Levels of a schema; more would take too long to turn into rules, and overflow what walks through it. */
export const MOST_SCHEMA_DEPTH = 64;

/** Levels of objects and arrays in one another; counting stops beyond `MOST_SCHEMA_DEPTH`. */
export function schemaDepth(value: unknown, depth = 0): number {
  if (depth > MOST_SCHEMA_DEPTH || typeof value !== 'object' || value === null) return depth;
  return Object.values(value).reduce<number>((most, inner) => Math.max(most, schemaDepth(inner, depth + 1)), depth);
}

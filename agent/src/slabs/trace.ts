import { z } from 'zod';

import type { LayerTrace } from './consistency.js';

/** First line of a trace: what the model is like. */
export const traceHeaderSchema = z.object({
  schema: z.literal('fleetgate-trace/1'),
  model: z.object({
    architecture: z.string(),
    /** Numbers of the layers that have slabs. */
    layers: z.array(z.number().int().nonnegative()).min(1).max(1024),
    slabsPerLayer: z.number().int().positive(),
    slabsPerToken: z.number().int().positive(),
    slabBytes: z.number().int().positive(),
    slabsBytes: z.number().int().positive(),
    otherBytes: z.number().int().nonnegative(),
  }),
});
export type TraceHeader = z.infer<typeof traceHeaderSchema>;

/** Every other line: the slabs of a document's tokens, `[token][layer][choice]`. */
export const traceDocumentSchema = z.object({
  document: z.number().int().nonnegative(),
  slabs: z.array(z.array(z.array(z.number().int().nonnegative()))),
});
export type TraceDocument = z.infer<typeof traceDocumentSchema>;

/** What one layer chose, document by document. */
export function layerTraces(documents: readonly TraceDocument[], layer: number): readonly LayerTrace[] {
  return documents.map(({ slabs }) => slabs.map((token) => token[layer] ?? []));
}

import { processEntry } from '@fleetgate/shared/process-entry';

import type { SlabCounts } from './kept-slabs.js';
import { runErrand } from './process-errand.js';
import type { RoutingRequest } from './routing-child.js';

/**
 * How often each slab of a mixture is chosen on the texts, prompts and completions, counted in a process of its own by
 * watching the router. Errors as `runErrand`, and `gguf.malformed` and `engine.unavailable` of the slab-aware engine.
 */
export async function countSlabs(
  request: RoutingRequest,
  onText: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<SlabCounts> {
  const program = processEntry(import.meta.url, './routing-child.js');
  return runErrand<SlabCounts>(program, request, `counting the slabs of ${request.path}`, onText, signal);
}

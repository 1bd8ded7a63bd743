import { processEntry } from '@fleetgate/shared/process-entry';

import type { SlabProfile } from '../slabs/profile.js';
import { runErrand } from './process-errand.js';
import type { RoutingRequest } from './routing-child.js';

/**
 * How the router of a mixture chooses on the texts, prompts and completions, task by task, watched in a process of its
 * own. Reasoning tokens are not told apart. Errors as `runErrand`, and `gguf.malformed` and `engine.unavailable` of the slab-aware engine.
 */
export async function profileSlabs(
  request: RoutingRequest,
  onText: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<SlabProfile> {
  const program = processEntry(import.meta.url, './routing-child.js');
  return runErrand<SlabProfile>(program, request, `profiling the router of ${request.path}`, onText, signal);
}

import type { RequestView } from '@fleetgate/shared/api/operations';

import type { Caller } from '../access/caller.js';
import type { Admission, EndedRequest } from '../access/rate-limits.js';
import { TERMINAL_STATES } from './ledger.js';
import { isOnlyRead, type Prompt } from './prompt.js';

type Asker = Pick<Caller, 'tenant' | 'rates'>;

/** A prompt for whom it is asked: the tenant of the key; only where it has none, whom the client names. */
export function ofCaller(prompt: Prompt, { tenant }: Asker): Prompt {
  return tenant === undefined || prompt.tenant === tenant ? prompt : { ...prompt, tenant };
}

/**
 * Counts one request, to be answered as `prompts`, against the limits of its tenant; undefined where nothing is limited.
 * Throws `request.rate-limited`.
 */
export function admitPrompts({ rates }: Asker, prompts: readonly Prompt[]): Admission | undefined {
  const [first] = prompts;
  if (first === undefined) return undefined;
  return rates?.admit(first.tenant, isOnlyRead(first.input) ? 0 : first.sampling.maxTokens, prompts.length);
}

/** Has what a taken request uses counted when it ends. */
export function followAdmitted(
  { rates }: Asker,
  admission: Admission | undefined,
  taken: { readonly id: string; readonly replayed?: boolean; record(): RequestView },
): void {
  if (admission === undefined) return;
  if (taken.replayed === true) {
    admission.release();
    return;
  }
  admission.follow(taken.id);
  // A refusal has ended before anybody could follow it.
  const ended = endedRequest(taken.record());
  if (ended !== undefined) rates?.ended(ended);
}

/** What a record says of the tokens that a request has used; undefined while it is under way. */
export function endedRequest({ id, state, actual, attempts, collaboration }: RequestView): EndedRequest | undefined {
  if (!TERMINAL_STATES.has(state)) return undefined;
  // Of several experts, calls are requests of their own.
  const wasSent = collaboration !== undefined || attempts.some(({ outcome }) => outcome !== 'unsent');
  return { id, outputTokens: actual?.outputTokens, wasSent };
}

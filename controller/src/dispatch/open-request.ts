import type { RequestView } from '@fleetgate/shared/api/operations';
import { messageOf } from '@fleetgate/shared/errors';
import type { RequestId } from '@fleetgate/shared/ids';

import type { GateScore } from '../gating/gate.js';
import { Deadlines } from './deadlines.js';
import type { DispatcherParts } from './dispatcher-parts.js';
import { resolveModel } from './model-target.js';
import { gateText, isOnlyRead, type Prompt, promptTokens } from './prompt.js';
import type { Request } from './request.js';
import { RequestEvents } from './request-events.js';
import { newRequestId, openRecord } from './request-record.js';
import { SaidSoFar } from './said-so-far.js';

/** A request that has just come, scored and counted as demand; nothing is decided about it yet. */
export function openRequest(parts: DispatcherParts, prompt: Prompt): Request {
  const { catalogue, clock, config, random } = parts;
  const now = clock.now();
  const id = newRequestId(now, random, prompt.callOf === undefined ? 'req' : 'call');
  const target = resolveModel(prompt, catalogue());
  const score = target === undefined ? undefined : scoreOf(parts, id, prompt);
  const record = openRecord(id, prompt, target?.mode ?? prompt.mode ?? 'auto', now, config.storePrompts);
  return {
    id,
    prompt,
    target,
    score,
    promptTokens: promptTokens(prompt.input, score?.promptTokens),
    receivedAt: now,
    events: new RequestEvents(),
    deadlines: new Deadlines(clock),
    tried: new Set(),
    said: new SaidSoFar(),
    record: {
      ...record,
      classId: score?.classId ?? null,
      ...(target?.kind === 'any' ? knowledgeOf(score) : {}),
      ...(prompt.callOf === undefined ? {} : { callOf: prompt.callOf }),
      ...(prompt.traceParent === undefined ? {} : { traceParent: prompt.traceParent }),
    },
    run: undefined,
    rival: undefined,
    firstTokenAt: undefined,
    strandedAt: undefined,
    stopAbort: () => {},
    counted: false,
    ended: false,
  };
}

/** How much the gate knew of a prompt that it chose the expert for. */
function knowledgeOf(score: GateScore | undefined): Pick<RequestView, 'novelty' | 'abstained'> {
  if (score === undefined) return { abstained: 'no gate is in use yet' };
  const { novelty, abstained } = score;
  return {
    ...(novelty === undefined ? {} : { novelty: Number(novelty.toPrecision(6)) }),
    ...(abstained === undefined ? {} : { abstained: abstained.reason }),
  };
}

function scoreOf({ gate, log, onDemand }: DispatcherParts, id: RequestId, prompt: Prompt): GateScore | undefined {
  try {
    const score = gate()?.score(gateText(prompt.input));
    // The request that this is a call of has been counted; what is only scored is evaluation, no work to plan for.
    const isDemand = prompt.callOf === undefined && !isOnlyRead(prompt.input);
    if (score !== undefined && isDemand) onDemand(score.classId, score);
    return score;
  } catch (error) {
    // A gate that fails must not take prompts down with it: the experts' cards are the fallback.
    log.error('gate.failed', { requestId: id, error: messageOf(error) });
    return undefined;
  }
}

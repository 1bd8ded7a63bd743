/** What the header says of the gate. Pure. */
import type { StatusView } from '@fleetgate/shared/api/operations';

export interface GateNotice {
  readonly word: string;
  readonly title: string;
  readonly tone: 'warn' | 'busy';
}

/** Null while the gate scores prompts as it should. */
export function gateNotice(status: Pick<StatusView, 'gate'> | null): GateNotice | null {
  if (status === null || status.gate.state === 'ready') return null;
  const { state, why, trainedOn } = status.gate;
  if (state === 'degraded') {
    return {
      word: 'Uniform gate',
      title: `Every prompt goes to the expert that is best in general: ${why ?? 'the gate cannot be used'}`,
      tone: 'warn',
    };
  }
  const meanwhile = trainedOn > 0 ? 'the gate before this one is in use' : 'experts are compared by their cards';
  return { word: 'Gate in training', title: `Until it is trained, ${meanwhile}`, tone: 'busy' };
}

import type { RequestView } from '@fleetgate/shared/api/operations';

import { type Offered, outcomeName } from './outcome.js';

/** What is kept of a decision record. */
export interface KeptRecord {
  readonly id: string;
  /** Of the client's request that it is of; undefined for what was not ours. */
  readonly traceId: string | undefined;
  readonly state: RequestView['state'];
  readonly code: string | undefined;
  readonly attempts: number;
  readonly hedges: number;
  readonly energyJ: number;
  /** Answered by several experts. */
  readonly joint: boolean;
  /** Every terminal state that it was seen in. */
  readonly ends: ReadonlySet<RequestView['state']>;
}

export interface Reconciliation {
  readonly offered: number;
  /** Offered, and recorded once, ended, and as the client saw it. */
  readonly agreed: number;
  /** The controller answered it, or said its id, and has no record of it. */
  readonly lost: readonly string[];
  /** Recorded, and not ended. */
  readonly unended: readonly string[];
  /** Recorded more than once, in more than one terminal state, or under another id than the client was told. */
  readonly repeated: readonly string[];
  /** Ended otherwise than the client saw it. */
  readonly disagreeing: readonly string[];
  /** Never reached the controller: the connection failed, and there is no record. */
  readonly neverArrived: number;
  /** Ends as seen on both sides: client, record, count. */
  readonly ends: readonly (readonly [client: string, record: string, count: number])[];
}

const TERMINAL: ReadonlySet<RequestView['state']> = new Set(['succeeded', 'failed', 'refused', 'cancelled']);

/** Holds what clients saw of their requests against the controller's records of them. */
export function reconcile(offered: readonly Offered[], records: Iterable<KeptRecord>): Reconciliation {
  const byTrace = new Map<string, KeptRecord[]>();
  for (const record of records) {
    if (record.traceId === undefined) continue;
    const same = byTrace.get(record.traceId);
    if (same === undefined) byTrace.set(record.traceId, [record]);
    else same.push(record);
  }
  const sent = offered.filter(({ outcome }) => outcome.kind !== 'unoffered');
  const [lost, unended, repeated, disagreeing]: [string[], string[], string[], string[]] = [[], [], [], []];
  const ends = new Map<string, number>();
  let agreed = 0;
  let neverArrived = 0;
  for (const one of sent) {
    const [record, ...more] = byTrace.get(one.traceId) ?? [];
    const client = outcomeName(one.outcome);
    const told = record === undefined ? 'no record' : [record.state, record.code].filter(Boolean).join(' ');
    const key = JSON.stringify([client, told]);
    ends.set(key, (ends.get(key) ?? 0) + 1);
    const named = `${one.requestId ?? record?.id ?? one.traceId}: ${client}; ${told}`;
    if (record === undefined) {
      if (one.outcome.kind === 'disconnected' && one.requestId === undefined) neverArrived += 1;
      else lost.push(named);
    } else if (!TERMINAL.has(record.state)) unended.push(named);
    else if (more.length > 0 || record.ends.size > 1 || (one.requestId ?? record.id) !== record.id)
      repeated.push(`${named} (${[record, ...more].map(({ id, ends: seen }) => [id, ...seen].join(' ')).join(', ')})`);
    else if (!agrees(one, record)) disagreeing.push(named);
    else agreed += 1;
  }
  return {
    offered: sent.length,
    agreed,
    lost,
    unended,
    repeated,
    disagreeing,
    neverArrived,
    ends: [...ends]
      .map(([key, count]) => [...(JSON.parse(key) as [string, string]), count] as const)
      .toSorted((a, b) => b[2] - a[2]),
  };
}

function agrees({ outcome }: Offered, { state }: KeptRecord): boolean {
  switch (outcome.kind) {
    case 'answered':
      return state === 'succeeded';
    case 'refused':
      return state === 'refused' || state === 'failed';
    case 'broken':
      return state === 'failed';
    case 'disconnected':
      return true;
    case 'unoffered':
      return false;
  }
}

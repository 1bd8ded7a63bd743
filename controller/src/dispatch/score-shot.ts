import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { SlabMask } from '@fleetgate/shared/catalogue/slab-mask';
import { FleetError } from '@fleetgate/shared/errors';
import type { ExpertId, VariantId } from '@fleetgate/shared/ids';

import type { Catalogue } from '../catalogue/catalogue.js';
import { type Device, type FleetSnapshot, presentReport } from '../fleet/device.js';
import type { LabelledPrompt } from '../gating/k-shot.js';
import type { ShotScore } from '../gating/trial-parts.js';
import type { DispatchPolicy } from './dispatch-policy.js';
import type { Dispatcher } from './dispatcher.js';

/** What enrolling goes by in the decision records. */
const ENDPOINT = 'enrolment';

/**
 * Scores a reference answer by an expert or one variant of it, on a device that serves it; with a mask, by some of its slabs.
 * Rejects with the request's error, and with `job.cancelled` once `signal` is aborted.
 */
export async function scoreShot(
  dispatcher: Pick<Dispatcher, 'accept'>,
  model: ExpertId | VariantId,
  { prompt, completion }: LabelledPrompt,
  signal: AbortSignal,
  slabMask?: SlabMask,
): Promise<ShotScore> {
  const dispatched = dispatcher.accept(
    {
      endpoint: ENDPOINT,
      model,
      mode: undefined,
      input: { kind: 'score', prompt, completion, ...(slabMask === undefined ? {} : { slabMask }) },
      sampling: { maxTokens: 1, temperature: 0, topP: 1, stop: [] },
      limits: { energy: undefined, latency: undefined },
    },
    signal,
  );
  for await (const event of dispatched.events) {
    if (event.kind === 'failed') throw event.error;
    if (event.kind === 'scored') return { bits: event.bits, bytes: event.bytes, energyJ: event.usage.energyJ };
  }
  throw new FleetError('internal.invariant', 'a score job was answered with text');
}

/** Why none of some variants can be scored now, for a person; undefined when every device that serves one is idle. */
export function scoringObstacle(
  isWanted: (variant: Variant) => boolean,
  facts: {
    readonly fleet: FleetSnapshot;
    readonly catalogue: Catalogue;
    readonly policy: DispatchPolicy | undefined;
    readonly isIdle: (device: Device) => boolean;
  },
): string | undefined {
  const { fleet, catalogue, policy, isIdle } = facts;
  const hosts = [...(policy?.placements ?? [])].flatMap(([id, placed]) => {
    const device = fleet.get(id);
    const own = [...placed].filter((id) => {
      const variant = catalogue.variants.get(id);
      return variant !== undefined && isWanted(variant);
    });
    return device !== undefined && own.some((variant) => isResident(device, variant)) ? [device] : [];
  });
  if (hosts.length === 0) return 'waits for a device that hosts it';
  return hosts.every(isIdle) ? undefined : 'waits until its devices are idle';
}

function isResident(device: Device, variant: string): boolean {
  const reported = presentReport(device);
  if (reported?.engine.state !== 'ready') return false;
  return reported.variants.some(({ variantId, residency }) => variantId === variant && residency === 'resident');
}

import type { Reported } from '@fleetgate/shared/protocol/twin';

/**
 * Whether a device that has just reported this does well: its engine is ready and it has what it is to have. That something
 * is still being fetched says nothing of the program, and may take hours.
 */
export function isDoingWell({ engine, observedGeneration, settled, variants }: Reported): boolean {
  const fetches = variants.some(({ residency }) => residency === 'fetching');
  return engine.state === 'ready' && observedGeneration > 0 && (settled || fetches);
}

import type { DeviceView } from '@fleetgate/shared/api/operations';

import { bytes, percent } from '../format.js';
import { usePage } from '../page.js';
import { expertOf } from '../state/live.js';

export function ResidencyChip({ variant }: { readonly variant: DeviceView['variants'][number] }) {
  const expert = expertOf(usePage().store.fleet.value, variant.variantId);
  const { residency, progress } = variant;
  const title = [
    `${variant.variantId}: ${residency}`,
    variant.memoryBytes === undefined ? '' : bytes(variant.memoryBytes),
    variant.error ?? '',
  ].filter((part) => part !== '');
  return (
    <li class={`chip chip-${residency}`} title={title.join(', ')} data-residency={residency}>
      {residency === 'fetching' ? (
        <span class="chip-fill" style={{ width: `${Math.round((progress ?? 0) * 100)}%` }} aria-hidden="true" />
      ) : null}
      <span class="chip-name">{expert}</span>
      {residency === 'resident' ? (
        <span class="visually-hidden">resident</span>
      ) : (
        <span class="chip-state">
          {residency === 'fetching' && progress !== undefined ? percent(progress) : residency}
        </span>
      )}
    </li>
  );
}

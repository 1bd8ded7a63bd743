import type { PowerSource } from '@fleetgate/shared/protocol/twin';
import type { ComponentChildren } from 'preact';

export type Tone = 'good' | 'busy' | 'warn' | 'bad' | 'off' | 'energy' | 'plain';

export function Badge({
  tone,
  title,
  children,
}: {
  readonly tone: Tone;
  readonly title?: string;
  readonly children: ComponentChildren;
}) {
  return (
    <span class={`badge tone-${tone}`} title={title}>
      {children}
    </span>
  );
}

const SOURCES = {
  measured: 'Read from a sensor',
  modelled: 'Computed from the board profile and utilisation, not measured',
  mixed: 'Measured on some devices, modelled on others',
} as const;

/** Every power and energy figure says where it comes from. */
export function SourceTag({ source }: { readonly source: PowerSource | 'mixed' | null }) {
  if (source === null) return null;
  return (
    <span class={`source source-${source}`} title={SOURCES[source]}>
      {source}
    </span>
  );
}

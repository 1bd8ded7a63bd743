import type { ComponentChildren } from 'preact';

import { parts } from '../format.js';

export interface FigureProps {
  readonly label: string;
  /** Formatted, number and unit. */
  readonly value: string;
  readonly children?: ComponentChildren;
}

/** One number worth reading from across the room, with its unit set smaller. */
export function Figure({ label, value, children }: FigureProps) {
  const [amount, unit] = parts(value);
  return (
    <div class="figure">
      <dt>{label}</dt>
      <dd>
        <span class="figure-value">
          {amount}
          {unit === '' ? null : <span class="figure-unit">{`\u00a0${unit}`}</span>}
        </span>
        <span class="figure-note">{children}</span>
      </dd>
    </div>
  );
}

export interface MeterProps {
  readonly label: string;
  /** 0..1. */
  readonly fill: number;
  /** Where the bound stands, 0..1; left out at the end of the scale. */
  readonly mark?: number;
  /** The value in words, for those who do not see the bar. */
  readonly text: string;
  readonly tone?: 'accent' | 'energy' | 'binding' | 'muted';
}

export function Meter({ label, fill, mark, text, tone = 'accent' }: MeterProps) {
  return (
    <div
      class={`meter meter-${tone}`}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(fill * 100)}
      aria-valuetext={text}
    >
      <div class="meter-fill" style={{ width: `${(fill * 100).toFixed(1)}%` }} />
      {mark === undefined || mark >= 0.999 ? null : (
        <div class="meter-mark" style={{ left: `${(mark * 100).toFixed(1)}%` }} />
      )}
    </div>
  );
}

import type { PlanConstraint } from '@fleetgate/shared/api/operations';
import { useState } from 'preact/hooks';

import { Badge } from '../parts/badge.js';
import { Meter } from '../parts/meter.js';
import { byTightness, constraintTitle, gauge, priceSentence, usedOfLimit } from './plan-words.js';

const SHOWN = 6;

export function BudgetGauges({ constraints }: { readonly constraints: readonly PlanConstraint[] }) {
  const [all, setAll] = useState(false);
  if (constraints.length === 0) return <p class="muted">Nothing bounds this plan.</p>;
  const sorted = byTightness(constraints);
  const shown = all ? sorted : sorted.slice(0, SHOWN);
  return (
    <>
      <ul class="gauges">
        {shown.map((constraint) => (
          <Gauge key={`${constraint.group} ${constraint.subject}`} constraint={constraint} />
        ))}
      </ul>
      {sorted.length <= SHOWN ? null : (
        <button type="button" class="link" onClick={() => setAll(!all)} aria-expanded={all}>
          {all ? 'Show the tightest only' : `Show all ${sorted.length} bounds`}
        </button>
      )}
    </>
  );
}

function Gauge({ constraint }: { readonly constraint: PlanConstraint }) {
  const { fill, mark } = gauge(constraint);
  const title = constraintTitle(constraint);
  const text = usedOfLimit(constraint);
  const price = priceSentence(constraint);
  return (
    <li class={constraint.binding ? 'gauge gauge-binding' : 'gauge'}>
      <span class="gauge-title">
        {title} {constraint.binding ? <Badge tone="energy">binds</Badge> : null}
      </span>
      <span class="gauge-text">{text}</span>
      <Meter label={title} fill={fill} mark={mark} text={text} tone={constraint.binding ? 'binding' : 'accent'} />
      {price === null ? null : <span class="gauge-price">{price}</span>}
    </li>
  );
}

import type { RequestView } from '@fleetgate/shared/api/operations';

import { count, duration, joules, timeOfDay } from '../format.js';
import { Badge, SourceTag } from '../parts/badge.js';
import { CallsTable } from './calls-table.js';
import { CandidatesTable } from './candidates-table.js';
import { deviation, expertOnDevice, stateTone } from './record-words.js';

/** Which expert on which device answered, why, and what it cost against what was predicted. */
export function DecisionRecord({ request }: { readonly request: RequestView }) {
  const { actual, predicted, error } = request;
  const retried = request.attempts.length > 1;
  return (
    <article class="record" data-request={request.id} data-state={request.state}>
      <header class="record-head">
        <h3>{expertOnDevice(request)}</h3>
        <Badge tone={stateTone(request.state)}>{request.state}</Badge>
      </header>
      <p class="record-why">{request.why}</p>
      {error === null ? null : (
        <p class="callout tone-bad">
          {error.message} <code>{error.code}</code>
        </p>
      )}
      <dl class="record-costs">
        <Cost
          label="Energy"
          actual={actual?.energyJ ?? null}
          predicted={predicted?.energyJ ?? null}
          show={joules}
          tone="energy"
          tag={<SourceTag source={actual?.energySource ?? null} />}
        />
        <Cost
          label="Time"
          actual={actual?.latencyMs ?? null}
          predicted={predicted?.latencyMs ?? null}
          show={duration}
          tone="accent"
          tag={
            actual?.ttftMs === null || actual === null ? null : (
              <span class="source">first token {duration(actual.ttftMs)}</span>
            )
          }
        />
      </dl>
      {request.collaboration === undefined ? null : <CallsTable collaboration={request.collaboration} />}
      {request.candidates.length === 0 ? null : <CandidatesTable request={request} />}
      {retried ? (
        <ol class="attempts" aria-label="Attempts">
          {request.attempts.map((attempt) => (
            <li key={attempt.startedAtMs}>
              {timeOfDay(attempt.startedAtMs)} {attempt.variantId} on {attempt.deviceId}: {attempt.outcome}
            </li>
          ))}
        </ol>
      ) : null}
      <footer class="record-foot">
        <span>asked for {request.model}</span>
        {request.classId === null ? null : <span>class {request.classId}</span>}
        {actual === null ? null : (
          <span>
            {actual.promptTokens} + {count(actual.outputTokens, 'token')}
          </span>
        )}
        {request.planId === null ? null : <span>plan {request.planId}</span>}
        <code title="Request id">{request.id}</code>
      </footer>
    </article>
  );
}

interface CostProps {
  readonly label: string;
  readonly actual: number | null;
  readonly predicted: number | null;
  readonly show: (value: number | null) => string;
  readonly tone: 'energy' | 'accent';
  readonly tag: preact.ComponentChildren;
}

/** Predicted and actual on one scale. */
function Cost({ label, actual, predicted, show, tone, tag }: CostProps) {
  const most = Math.max(actual ?? 0, predicted ?? 0, 1e-12);
  const words = deviation(predicted, actual);
  return (
    <div class={`cost cost-${tone}`}>
      <dt>{label}</dt>
      <dd>
        <span class="cost-actual">{show(actual)}</span> {tag}
        <span class="cost-bars" aria-hidden="true">
          <i class="cost-bar" style={{ width: `${(100 * (actual ?? 0)) / most}%` }} />
          <i class="cost-bar cost-bar-predicted" style={{ width: `${(100 * (predicted ?? 0)) / most}%` }} />
        </span>
        <span class="cost-predicted">
          predicted {show(predicted)}
          {words === null ? '' : `, ${words}`}
        </span>
      </dd>
    </div>
  );
}

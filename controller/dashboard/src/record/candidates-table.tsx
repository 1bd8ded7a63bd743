import type { CandidateView, RequestView } from '@fleetgate/shared/api/operations';
import { useState } from 'preact/hooks';

import { duration, joules } from '../format.js';
import { costScales, rankCandidates } from './record-words.js';

const SHOWN = 6;

type Decided = Pick<RequestView, 'candidates' | 'actual'>;

/** Every candidate of a decision: what was predicted of it, why it was left out, and what the chosen one did cost. */
export function CandidatesTable({ request }: { readonly request: Decided }) {
  const [all, setAll] = useState(false);
  const ranked = rankCandidates(request.candidates);
  const shown = all ? ranked : ranked.slice(0, SHOWN);
  return (
    <div class="candidates">
      <div class="scroll-x" tabIndex={0} role="region" aria-label="Candidates">
        <table>
          <thead>
            <tr>
              <th scope="col">Candidate</th>
              <th scope="col">Expected quality</th>
              <th scope="col">Energy</th>
              <th scope="col">Time</th>
              <th scope="col" class="num">
                Value
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((candidate) => (
              <Candidate
                key={`${candidate.variantId} ${candidate.deviceId ?? ''}`}
                candidate={candidate}
                request={request}
              />
            ))}
          </tbody>
        </table>
      </div>
      {ranked.length <= SHOWN ? null : (
        <button type="button" class="link" onClick={() => setAll(!all)} aria-expanded={all}>
          {all ? 'Show the best only' : `Show all ${ranked.length} candidates`}
        </button>
      )}
    </div>
  );
}

function Candidate({ candidate, request }: { readonly candidate: CandidateView; readonly request: Decided }) {
  const { quality, qualitySd, excluded, chosen } = candidate;
  const low = Math.max(0, quality - qualitySd);
  const scales = costScales(request);
  const actual = chosen ? request.actual : null;
  return (
    <tr class={chosen ? 'candidate-chosen' : excluded === null ? '' : 'candidate-out'}>
      <th scope="row">
        {chosen ? <span class="visually-hidden">chosen: </span> : null}
        {candidate.expertId}
        <small>{candidate.deviceId ?? 'not hosted'}</small>
      </th>
      <td class="candidate-quality" title={`${quality.toFixed(3)} ± ${qualitySd.toFixed(3)}`}>
        <span class="quality-bar" aria-hidden="true">
          <i style={{ width: share(quality) }} />
          <b style={{ left: share(low), width: share(Math.min(1, quality + qualitySd) - low) }} />
        </span>
        <span>{quality.toFixed(2)}</span>
      </td>
      <Cost of="energy" {...costOf('energyJ', candidate, actual, scales)} show={joules} />
      <Cost of="time" {...costOf('latencyMs', candidate, actual, scales)} show={duration} />
      {excluded === null ? (
        <td class="num">{candidate.value === null ? '–' : candidate.value.toFixed(3)}</td>
      ) : (
        <td class="candidate-reason">{excluded}</td>
      )}
    </tr>
  );
}

interface CostProps {
  readonly of: 'energy' | 'time';
  readonly predicted: number | null;
  readonly actual: number | null;
  /** The end of the scale. */
  readonly most: number;
  readonly show: (value: number | null) => string;
}

function costOf(
  of: 'energyJ' | 'latencyMs',
  candidate: CandidateView,
  actual: RequestView['actual'],
  scales: ReturnType<typeof costScales>,
): Pick<CostProps, 'predicted' | 'actual' | 'most'> {
  return { predicted: candidate[of], actual: actual?.[of] ?? null, most: scales[of] };
}

/** Predicted as a bar, actual as a mark on it. */
function Cost({ of, predicted, actual, most, show }: CostProps) {
  if (predicted === null) return <td>–</td>;
  const told = actual === null ? '' : `, actual ${show(actual)}`;
  return (
    <td class="candidate-cost" title={`predicted ${show(predicted)}${told}`}>
      <span class={`quality-bar candidate-${of}`} aria-hidden="true">
        <i style={{ width: share(predicted / most) }} />
        {actual === null ? null : <b style={{ left: share(actual / most) }} />}
      </span>
      <span>{show(predicted)}</span>
      {actual === null ? null : <small>actual {show(actual)}</small>}
    </td>
  );
}

const share = (ratio: number): string => `${(100 * Math.min(1, Math.max(0, ratio))).toFixed(1)}%`;

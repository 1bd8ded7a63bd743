import type { CandidateView } from '@fleetgate/shared/api/operations';
import { useState } from 'preact/hooks';

import { duration, joules } from '../format.js';
import { rankCandidates } from './record-words.js';

const SHOWN = 6;

export function CandidatesTable({ candidates }: { readonly candidates: readonly CandidateView[] }) {
  const [all, setAll] = useState(false);
  const ranked = rankCandidates(candidates);
  const shown = all ? ranked : ranked.slice(0, SHOWN);
  return (
    <div class="candidates">
      <div class="scroll-x" tabIndex={0} role="region" aria-label="Candidates">
        <table>
          <thead>
            <tr>
              <th scope="col">Candidate</th>
              <th scope="col">Expected quality</th>
              <th scope="col" class="num">
                Cost
              </th>
              <th scope="col" class="num">
                Value
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((candidate) => (
              <Candidate key={`${candidate.variantId} ${candidate.deviceId ?? ''}`} candidate={candidate} />
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

function Candidate({ candidate }: { readonly candidate: CandidateView }) {
  const { quality, qualitySd, excluded } = candidate;
  const share = (value: number): string => `${Math.min(100, Math.max(0, value * 100)).toFixed(1)}%`;
  const low = Math.max(0, quality - qualitySd);
  return (
    <tr class={candidate.chosen ? 'candidate-chosen' : excluded === null ? '' : 'candidate-out'}>
      <th scope="row">
        {candidate.chosen ? <span class="visually-hidden">chosen: </span> : null}
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
      {excluded === null ? (
        <>
          <td class="num">
            {joules(candidate.energyJ)}
            <small>{duration(candidate.latencyMs)}</small>
          </td>
          <td class="num">{candidate.value === null ? '–' : candidate.value.toFixed(3)}</td>
        </>
      ) : (
        <td class="candidate-reason" colSpan={2}>
          {excluded}
        </td>
      )}
    </tr>
  );
}

import type { CallView, CollaborationView } from '@fleetgate/shared/api/operations';

import { duration, joules } from '../format.js';

/** What each of several experts was asked, its share in the answer, and what it cost. */
export function CallsTable({ collaboration }: { readonly collaboration: CollaborationView }) {
  return (
    <div class="candidates">
      <div class="scroll-x" tabIndex={0} role="region" aria-label={`Calls of the ${collaboration.how}`}>
        <table>
          <thead>
            <tr>
              <th scope="col">{collaboration.how}</th>
              <th scope="col">Share</th>
              <th scope="col" class="num">
                Cost
              </th>
            </tr>
          </thead>
          <tbody>
            {collaboration.calls.map((call) => (
              <Call key={call.requestId} call={call} />
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function Call({ call }: { readonly call: CallView }) {
  const isDone = call.outcome === 'succeeded';
  return (
    <tr class={isDone ? '' : 'candidate-out'}>
      <th scope="row">
        {call.expertId}
        <small>
          {call.role}
          {call.deviceId === null ? '' : ` on ${call.deviceId}`}
        </small>
      </th>
      <td>{call.weight === null ? '–' : `${Math.round(100 * call.weight)}\u00a0%`}</td>
      {isDone ? (
        <td class="num">
          {joules(call.energyJ)}
          <small>{duration(call.latencyMs)}</small>
        </td>
      ) : (
        <td class="candidate-reason">{call.outcome}</td>
      )}
    </tr>
  );
}

import type { RequestView } from '@fleetgate/shared/api/operations';
import { useState } from 'preact/hooks';

import { count, duration, joules, timeOfDay, UNKNOWN } from '../format.js';
import { usePage } from '../page.js';
import { stateTone } from '../record/record-words.js';

const STEP = 12;

export function RequestTable({ requests }: { readonly requests: readonly RequestView[] }) {
  const { openRequest } = usePage();
  const [shown, setShown] = useState(STEP);
  return (
    <>
      <table class="request-table">
        <caption class="visually-hidden">Requests, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">State</th>
            <th scope="col">Expert</th>
            <th scope="col">Device</th>
            <th scope="col" class="num wide">
              Tokens
            </th>
            <th scope="col" class="num">
              Energy
            </th>
            <th scope="col" class="num">
              Took
            </th>
            <th scope="col" class="wide">
              Why
            </th>
          </tr>
        </thead>
        <tbody>
          {requests.slice(0, shown).map((request) => (
            <Row key={request.id} request={request} open={() => (openRequest.value = request.id)} />
          ))}
        </tbody>
      </table>
      {requests.length <= shown ? null : (
        <button type="button" class="link" onClick={() => setShown(shown + 4 * STEP)}>
          Show more ({count(requests.length - shown, 'earlier request')})
        </button>
      )}
    </>
  );
}

function Row({ request, open }: { readonly request: RequestView; readonly open: () => void }) {
  const { actual } = request;
  return (
    <tr data-request={request.id} onClick={open}>
      <td>
        <button
          type="button"
          class="row-open"
          aria-label={`Record of the request at ${timeOfDay(request.receivedAtMs)}`}
          onClick={(event) => {
            event.stopPropagation();
            open();
          }}
        >
          {timeOfDay(request.receivedAtMs)}
        </button>
      </td>
      <td>
        <span class={`request-state tone-${stateTone(request.state)}`}>
          <i class="dot" aria-hidden="true" />
          {request.state}
        </span>
      </td>
      <td class="strong">{request.expertId ?? UNKNOWN}</td>
      <td>{request.deviceId ?? UNKNOWN}</td>
      <td class="num wide">{actual === null ? UNKNOWN : actual.outputTokens}</td>
      <td class="num">{joules(actual?.energyJ)}</td>
      <td class="num">{duration(actual?.latencyMs)}</td>
      <td class="wide why">{request.error?.message ?? request.why}</td>
    </tr>
  );
}

import type { RequestView } from '@fleetgate/shared/api/operations';
import { useSignal, useSignalEffect } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { type ApiFailure, asFailure } from '../api/failure.js';
import { timeOfDay } from '../format.js';
import { Loading } from '../parts/section.js';
import { usePage } from '../page.js';
import { DecisionRecord } from './decision-record.js';

/** A request's record over the page: the live one while it runs, the stored one when it is not in the list any more. */
export function RecordDialog() {
  const { store, client, openRequest } = usePage();
  const dialog = useRef<HTMLDialogElement>(null);
  const fetched = useSignal<RequestView | null>(null);
  const failure = useSignal<ApiFailure | null>(null);
  const id = openRequest.value;

  async function load(wanted: string): Promise<void> {
    try {
      const record = await client.get<RequestView>(`/api/v1/requests/${encodeURIComponent(wanted)}`);
      if (openRequest.peek() === wanted) fetched.value = record;
    } catch (error) {
      if (openRequest.peek() === wanted) failure.value = asFailure(error);
    }
  }
  useSignalEffect(() => {
    const wanted = openRequest.value;
    fetched.value = null;
    failure.value = null;
    if (wanted === null) return;
    void load(wanted);
  });
  useEffect(() => {
    if (id !== null && dialog.current?.open === false) dialog.current.showModal();
    if (id === null) dialog.current?.close();
  }, [id]);

  const listed = store.fleet.value.requests.find((request) => request.id === id);
  const request = listed ?? fetched.value;
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-label="Decision record"
      onClose={() => {
        openRequest.value = null;
      }}
      onClick={(event) => {
        if (event.target === dialog.current) dialog.current?.close();
      }}
    >
      {id === null ? null : (
        <div class="dialog-body">
          <div class="dialog-head">
            <h2>Request{request === null || request === undefined ? '' : ` at ${timeOfDay(request.receivedAtMs)}`}</h2>
            <button type="button" class="button button-small" onClick={() => dialog.current?.close()}>
              Close
            </button>
          </div>
          {request !== null && request !== undefined ? (
            <DecisionRecord request={fetched.value?.state === request.state ? fetched.value : request} />
          ) : failure.value !== null ? (
            <p class="callout tone-bad">{failure.value.message}</p>
          ) : (
            <Loading rows={3} />
          )}
        </div>
      )}
    </dialog>
  );
}

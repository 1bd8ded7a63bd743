import type { TenantLimits } from '@fleetgate/shared/api/access';
import { useState } from 'preact/hooks';

import { reasonOf } from '../api/failure.js';
import { usePage } from '../page.js';
import { parseLimit } from './limit-input.js';

/** Limits what a tenant may ask within a minute. */
export function TenantLimitForm({ onSet }: { readonly onSet: () => void }) {
  const { client } = usePage();
  const [name, setName] = useState('');
  const [requests, setRequests] = useState('');
  const [tokens, setTokens] = useState('');
  const [fault, setFault] = useState<string | null>(null);
  async function set(): Promise<void> {
    const [requestsPerMinute, outputTokensPerMinute] = [parseLimit(requests), parseLimit(tokens)];
    if (requestsPerMinute === undefined || outputTokensPerMinute === undefined) {
      return setFault('A limit is a whole number above 0; leave it empty for none.');
    }
    const limits: TenantLimits = { requestsPerMinute, outputTokensPerMinute };
    setFault(null);
    try {
      await client.send('PUT', `/api/v1/tenants/${encodeURIComponent(name.trim())}`, limits);
      onSet();
    } catch (error) {
      setFault(reasonOf(error));
    }
  }
  return (
    <form
      class="access-form"
      onSubmit={(event) => {
        event.preventDefault();
        void set();
      }}
    >
      <Field label="Tenant" value={name} onInput={setName} />
      <Field label="Requests a minute" value={requests} onInput={setRequests} />
      <Field label="Tokens a minute" value={tokens} onInput={setTokens} />
      <button type="submit" class="button" disabled={name.trim() === ''}>
        Set limits
      </button>
      {fault === null ? null : (
        <p class="field-error" role="alert">
          {fault}
        </p>
      )}
    </form>
  );
}

interface FieldProps {
  readonly label: string;
  readonly value: string;
  readonly onInput: (text: string) => void;
}

function Field({ label, value, onInput }: FieldProps) {
  return (
    <label class="field">
      {label}
      <input autocomplete="off" value={value} onInput={(event) => onInput(event.currentTarget.value)} />
    </label>
  );
}

import { type NewKeyView, type Scope, SCOPES } from '@fleetgate/shared/api/access';
import { useState } from 'preact/hooks';

import { type ApiFailure, asFailure } from '../api/failure.js';
import { usePage } from '../page.js';

const MAY: Readonly<Record<Scope, string>> = {
  infer: 'ask the fleet',
  read: 'look at it',
  operate: 'change it',
  admin: 'give out keys',
};

/** Makes a key. */
export function KeyForm({ onMade }: { readonly onMade: (key: NewKeyView) => void }) {
  const { client } = usePage();
  const [label, setLabel] = useState('');
  const [tenant, setTenant] = useState('');
  const [scopes, setScopes] = useState<readonly Scope[]>(['infer']);
  const [fault, setFault] = useState<ApiFailure | null>(null);
  async function make(): Promise<void> {
    setFault(null);
    try {
      const body = { label, scopes, tenant: tenant === '' ? null : tenant, expiresAtMs: null };
      onMade(await client.send<NewKeyView>('POST', '/api/v1/keys', body));
      setLabel('');
      setTenant('');
    } catch (error) {
      setFault(asFailure(error));
    }
  }
  return (
    <form
      class="access-form"
      onSubmit={(event) => {
        event.preventDefault();
        void make();
      }}
    >
      <label class="field">
        What the key is for
        <input name="label" autocomplete="off" value={label} onInput={(event) => setLabel(event.currentTarget.value)} />
      </label>
      <label class="field">
        Tenant (optional)
        <input
          name="tenant"
          autocomplete="off"
          value={tenant}
          onInput={(event) => setTenant(event.currentTarget.value)}
        />
      </label>
      <fieldset class="scopes">
        <legend class="visually-hidden">What the key may do</legend>
        {SCOPES.map((scope) => (
          <label key={scope}>
            <input
              type="checkbox"
              checked={scopes.includes(scope)}
              onChange={() =>
                setScopes(SCOPES.filter((each) => (each === scope ? !scopes.includes(each) : scopes.includes(each))))
              }
            />
            {scope}: {MAY[scope]}
          </label>
        ))}
      </fieldset>
      <button type="submit" class="button" disabled={label.trim() === '' || scopes.length === 0}>
        Make a key
      </button>
      {fault === null ? null : (
        <p class="field-error" role="alert">
          {fault.message}
        </p>
      )}
    </form>
  );
}

import { useEffect, useRef, useState } from 'preact/hooks';

import { usePage } from '../page.js';

/** Asks for the API key when the controller wants one. */
export function KeyDialog() {
  const { store, useKey } = usePage();
  const link = store.connection.value;
  const dialog = useRef<HTMLDialogElement>(null);
  const [key, setKey] = useState('');
  const open = link.phase === 'needs-key';
  useEffect(() => {
    if (open && dialog.current?.open === false) dialog.current.showModal();
    if (!open) dialog.current?.close();
  }, [open]);
  return (
    <dialog
      ref={dialog}
      class="dialog dialog-small"
      aria-labelledby="key-title"
      onCancel={(event) => event.preventDefault()}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (key.trim() !== '') useKey(key.trim());
        }}
      >
        <h2 id="key-title">This controller asks for an API key</h2>
        <p class="muted">It is kept in this tab only and forgotten when you close it.</p>
        <label class="field">
          API key
          <input
            type="password"
            name="key"
            autocomplete="off"
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
            aria-invalid={link.phase === 'needs-key' && link.refused ? 'true' : undefined}
          />
        </label>
        {link.phase === 'needs-key' && link.refused ? (
          <p class="field-error" role="alert">
            The controller refused this key.
          </p>
        ) : null}
        <button type="submit" class="button button-primary" disabled={key.trim() === ''}>
          Unlock
        </button>
      </form>
    </dialog>
  );
}

import { useState } from 'preact/hooks';

import { type ApiFailure, asFailure } from '../api/failure.js';

export interface AskingButtonProps {
  /** On the button at rest. */
  readonly label: string;
  /** Asked at the first press; absent: the first press does it. */
  readonly question?: string;
  /** On the button that does it; `label` without a question. */
  readonly yes?: string;
  readonly no?: string;
  readonly busy: string;
  /** Why it cannot be pressed now. */
  readonly impossible?: string | undefined;
  readonly act: () => Promise<void>;
}

/** A change with one button: it may be asked twice, and says so when it fails. */
export function AskingButton({ label, question, yes, no, busy, impossible, act }: AskingButtonProps) {
  const [step, setStep] = useState<'rest' | 'sure' | 'busy'>('rest');
  const [fault, setFault] = useState<ApiFailure | null>(null);
  const run = async (): Promise<void> => {
    setStep('busy');
    setFault(null);
    try {
      await act();
    } catch (error) {
      setFault(asFailure(error));
    } finally {
      setStep('rest');
    }
  };
  return (
    <div class="asking">
      {fault === null ? null : (
        <span class="field-error" role="alert">
          {fault.message}
        </span>
      )}
      {step === 'sure' ? (
        <>
          <span>{question}</span>
          <button type="button" class="button button-small button-primary" onClick={() => void run()}>
            {yes ?? label}
          </button>
          <button type="button" class="button button-small" onClick={() => setStep('rest')}>
            {no ?? 'Cancel'}
          </button>
        </>
      ) : (
        <button
          type="button"
          class="button button-small"
          disabled={impossible !== undefined || step === 'busy'}
          title={impossible}
          onClick={() => (question === undefined ? void run() : setStep('sure'))}
        >
          {step === 'busy' ? busy : label}
        </button>
      )}
    </div>
  );
}

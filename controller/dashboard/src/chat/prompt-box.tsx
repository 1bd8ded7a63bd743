import type { RefObject } from 'preact';
import { useState } from 'preact/hooks';

import { usePage } from '../page.js';
import { groupModels } from './models.js';

export interface PromptBoxProps {
  readonly input: RefObject<HTMLTextAreaElement | null>;
  readonly running: boolean;
}

export function PromptBox({ input, running }: PromptBoxProps) {
  const { chat, store } = usePage();
  const [model, setModel] = useState('auto');
  const groups = groupModels(chat.models.value, store.fleet.value.experts);
  const send = (): void => {
    const prompt = input.current?.value.trim() ?? '';
    if (prompt === '' || running) return;
    void chat.ask(model, prompt);
    if (input.current !== null) input.current.value = '';
  };
  return (
    <form
      class="prompt"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label class="visually-hidden" for="prompt">
        Prompt
      </label>
      <textarea
        id="prompt"
        ref={input}
        rows={2}
        maxLength={100_000}
        placeholder="Ask the fleet…"
        onKeyDown={(event) => {
          if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          send();
        }}
      />
      <div class="prompt-row">
        <label class="prompt-model">
          <span>Model</span>
          <select value={model} onChange={(event) => setModel(event.currentTarget.value)}>
            {groups.map((group) => (
              <optgroup key={group.title} label={group.title}>
                {group.ids.map((id) => (
                  <option key={id} value={id} selected={id === model}>
                    {id}
                  </option>
                ))}
              </optgroup>
            ))}
          </select>
        </label>
        <span class="prompt-hint" aria-hidden="true">
          Enter sends, Shift+Enter breaks the line
        </span>
        {running ? (
          <button type="button" class="button" onClick={() => chat.stop()}>
            Stop
          </button>
        ) : (
          <button type="submit" class="button button-primary">
            Send
          </button>
        )}
      </div>
    </form>
  );
}

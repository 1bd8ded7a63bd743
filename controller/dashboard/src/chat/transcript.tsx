import type { RefObject } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

import { usePage } from '../page.js';
import type { Exchange } from './exchange.js';
import { samplePrompts } from './models.js';

export interface TranscriptProps {
  readonly exchanges: readonly Exchange[];
  readonly selected: number | null;
  readonly input: RefObject<HTMLTextAreaElement | null>;
}

export function Transcript({ exchanges, selected, input }: TranscriptProps) {
  const { store } = usePage();
  const end = useRef<HTMLDivElement>(null);
  const length = exchanges.at(-1)?.answer.length ?? 0;
  useEffect(() => {
    const list = end.current;
    if (list !== null) list.scrollTop = list.scrollHeight;
  }, [exchanges.length, length]);
  if (exchanges.length === 0) {
    return (
      <div class="transcript transcript-empty">
        <p class="muted">Each prompt goes to the expert that the gate expects to answer it best within the budgets.</p>
        <ul class="samples" aria-label="Prompts to begin with">
          {samplePrompts(store.fleet.value.experts).map((prompt) => (
            <li key={prompt}>
              <button
                type="button"
                onClick={() => {
                  if (input.current === null) return;
                  input.current.value = prompt;
                  input.current.focus();
                }}
              >
                {prompt}
              </button>
            </li>
          ))}
        </ul>
      </div>
    );
  }
  return (
    <div class="transcript" ref={end} tabIndex={0} role="log" aria-label="Conversation">
      {exchanges.map((exchange) => (
        <ExchangeView key={exchange.key} exchange={exchange} selected={exchange.key === selected} />
      ))}
    </div>
  );
}

function ExchangeView({ exchange, selected }: { readonly exchange: Exchange; readonly selected: boolean }) {
  const { chat } = usePage();
  const busy = exchange.phase === 'waiting' || exchange.phase === 'streaming';
  return (
    <article class={selected ? 'exchange exchange-selected' : 'exchange'} data-phase={exchange.phase}>
      <p class="exchange-prompt">{exchange.prompt}</p>
      <div class="exchange-answer" aria-busy={busy}>
        {exchange.answer}
        {busy ? <span class="caret" aria-label="still writing" role="img" /> : null}
      </div>
      {exchange.failure === null ? null : (
        <p class="field-error" role="alert">
          {exchange.failure.message}
          {exchange.failure.hint === null ? null : <span class="muted"> {exchange.failure.hint}</span>}
        </p>
      )}
      <footer class="exchange-foot">
        <span>
          {exchange.expertId === null ? exchange.model : exchange.expertId}
          {exchange.deviceId === null ? '' : ` on ${exchange.deviceId}`}
          {exchange.phase === 'stopped' ? ', stopped' : ''}
          {exchange.finishReason === 'length' ? ', cut at the length limit' : ''}
        </span>
        {selected ? null : (
          <button type="button" class="link" onClick={() => chat.select(exchange.key)}>
            Show its record
          </button>
        )}
      </footer>
    </article>
  );
}

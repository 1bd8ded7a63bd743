import { useRef } from 'preact/hooks';

import { Badge } from '../parts/badge.js';
import { Empty, Section } from '../parts/section.js';
import { usePage } from '../page.js';
import { DecisionRecord } from '../record/decision-record.js';
import type { Exchange } from './exchange.js';
import { PromptBox } from './prompt-box.js';
import { Transcript } from './transcript.js';

export function ChatSection() {
  const { chat } = usePage();
  const exchanges = chat.exchanges.value;
  const selected = exchanges.find((exchange) => exchange.key === chat.selected.value) ?? exchanges.at(-1);
  const input = useRef<HTMLTextAreaElement>(null);
  return (
    <Section id="chat" title="Chat">
      <div class="chat">
        <div class="panel chat-talk">
          <Transcript exchanges={exchanges} selected={selected?.key ?? null} input={input} />
          <PromptBox
            input={input}
            running={exchanges.some((each) => each.phase === 'waiting' || each.phase === 'streaming')}
          />
        </div>
        <div class="panel chat-record" data-testid="chat-record">
          {selected === undefined ? (
            <Empty title="Why this answer">
              <p>
                Beside each answer stands its decision record: which expert on which device gave it, why, what it was
                predicted to cost and what it did cost.
              </p>
            </Empty>
          ) : (
            <RecordOf exchange={selected} />
          )}
        </div>
      </div>
    </Section>
  );
}

function RecordOf({ exchange }: { readonly exchange: Exchange }) {
  const { chat, store } = usePage();
  const { requestId } = exchange;
  const record =
    requestId === null
      ? undefined
      : (chat.records.value.get(requestId) ?? store.fleet.value.requests.find((request) => request.id === requestId));
  if (record !== undefined) return <DecisionRecord request={record} />;
  if (exchange.phase === 'failed') {
    return <Empty title="No decision record">{requestId === null ? <p>The request was not admitted.</p> : null}</Empty>;
  }
  return (
    <div class="record-pending" role="status">
      <h3>
        {exchange.expertId === null ? 'Choosing an expert…' : `${exchange.expertId} on ${exchange.deviceId ?? '…'}`}
      </h3>
      <Badge tone="busy">running</Badge>
    </div>
  );
}

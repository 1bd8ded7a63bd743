import type { RequestView } from '@fleetgate/shared/api/operations';
import { describe, expect, it } from 'vitest';

import { aCatalogue, anExpert } from '../dispatch/dispatch-fixtures.js';
import { Metrics } from '../platform/metrics.js';
import { endedRequest } from './serving-figures.js';

const catalogue = aCatalogue([anExpert('math'), anExpert('code')]);

function aRecord(more: Partial<RequestView> = {}): RequestView {
  return {
    id: 'req-1',
    receivedAtMs: 1000,
    endedAtMs: 3000,
    state: 'succeeded',
    endpoint: '/v1/chat/completions',
    model: 'auto',
    mode: 'auto',
    classId: null,
    planId: 'plan-1',
    promptChars: 10,
    expertId: 'math',
    variantId: 'math-q8_0',
    deviceId: 'pi',
    attempts: [],
    why: '',
    candidates: [],
    predicted: null,
    actual: {
      latencyMs: 2000,
      energyJ: 1.5,
      promptTokens: 20,
      outputTokens: 11,
      reusedTokens: 5,
      ttftMs: 1000,
      energySource: 'modelled',
      engine: { queueMs: 100, prefillMs: 800, decodeMs: 1000 },
    },
    finishReason: 'length',
    error: null,
    ...more,
  };
}

const refused: Partial<RequestView> = {
  state: 'refused',
  expertId: null,
  variantId: null,
  deviceId: null,
  actual: null,
  finishReason: null,
  error: { code: 'dispatch.no-capacity', message: 'none' },
};

async function rendered(records: readonly RequestView[]): Promise<string> {
  const metrics = new Metrics(() => ({
    devices: [],
    brokerConnected: true,
    liveFeedClients: 0,
    planObjective: undefined,
    gateDegraded: false,
    learning: undefined,
    dispatch: {
      ended: { succeeded: 1, failed: 0, refused: 2, cancelled: 0 },
      retried: 3,
      takenOver: 1,
      hedged: 2,
      hedgesWon: 1,
      ignored: { duplicate: 4, late: 0, foreign: 0, overflow: 0 },
      requestsInFlight: 2,
      jobsRunning: 1,
      jobsWaiting: 1,
      recordsWaiting: 0,
      recordsDropped: 0,
    },
    loads: new Map([['math', { running: 1, waiting: 2 }]]),
  }));
  for (const record of records) metrics.observe(endedRequest(record, catalogue));
  // Counters of what is counted elsewhere must not grow with every scrape.
  await metrics.render();
  return metrics.render();
}

describe('what an ended request is to Prometheus', () => {
  it('is told under the names of fleetgate, vLLM and OpenTelemetry', async () => {
    const text = await rendered([aRecord()]);
    const model =
      'gen_ai_operation_name="chat",gen_ai_provider_name="fleetgate",gen_ai_request_model="auto",gen_ai_response_model="math-q8_0"';
    for (const line of [
      'fleetgate_requests_total{state="succeeded",expert="math"} 1',
      'fleetgate_request_energy_joules_total{device="pi",expert="math",source="modelled"} 1.5',
      'fleetgate_dispatch_retries_total 3',
      'fleetgate_dispatch_takeovers_total 1',
      'fleetgate_dispatch_ended_total{state="refused"} 2',
      'fleetgate_dispatch_ignored_messages_total{reason="duplicate"} 4',
      'fleetgate_requests_in_flight 2',
      'fleetgate_jobs{state="waiting"} 1',
      'vllm:num_requests_running{model_name="math"} 1',
      'vllm:num_requests_waiting{model_name="math"} 2',
      'vllm:prompt_tokens_total{model_name="math"} 20',
      'vllm:generation_tokens_total{model_name="math"} 11',
      'vllm:prefix_cache_queries_total{model_name="math"} 20',
      'vllm:prefix_cache_hits_total{model_name="math"} 5',
      'vllm:request_success_total{model_name="math",finished_reason="length"} 1',
      'vllm:e2e_request_latency_seconds_sum{model_name="math"} 2',
      'vllm:time_to_first_token_seconds_sum{model_name="math"} 1',
      'vllm:inter_token_latency_seconds_sum{model_name="math"} 0.1',
      'vllm:request_queue_time_seconds_sum{model_name="math"} 0.1',
      'vllm:request_prefill_time_seconds_sum{model_name="math"} 0.8',
      'vllm:request_decode_time_seconds_sum{model_name="math"} 1',
      `gen_ai_server_request_duration_seconds_sum{${model}} 2`,
      `gen_ai_server_time_to_first_token_seconds_sum{${model}} 1`,
      `gen_ai_server_time_per_output_token_seconds_sum{${model}} 0.1`,
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).toMatch(/gen_ai_client_token_usage_bucket\{le="16",.*gen_ai_token_type="output"\} 1/);
    expect(text).toMatch(/gen_ai_client_token_usage_sum\{.*gen_ai_token_type="input"\} 20/);
  });

  it('is a rejection when it was refused, and no success when it was cancelled', async () => {
    const cancelled = aRecord({ state: 'cancelled', error: { code: 'job.cancelled', message: 'gone' } });
    const text = await rendered([aRecord(refused), cancelled]);
    expect(text).toContain('vllm:admission_rejections_total{model_name="auto",reason="dispatch.no-capacity"} 1');
    expect(text).toContain('vllm:request_success_total{model_name="math",finished_reason="abort"} 1');
    expect(text).toMatch(/gen_ai_server_request_duration_seconds_count\{.*error_type="dispatch.no-capacity"\} 1/);
    expect(text).not.toMatch(/vllm:e2e_request_latency_seconds_count\{/);
  });

  it('counts what several experts used with their calls, and who answered with the request', async () => {
    const joint = aRecord({ collaboration: { how: 'cascade', quality: 0.5, calls: [] } });
    const call = aRecord({ id: 'call-1', model: 'math-q8_0', callOf: 'req-1' });
    const text = await rendered([joint, call]);
    expect(text).toContain('vllm:prompt_tokens_total{model_name="math"} 20');
    expect(text).toContain('vllm:request_success_total{model_name="math",finished_reason="length"} 1');
    expect(text).toMatch(/gen_ai_client_token_usage_sum\{.*gen_ai_token_type="input"\} 20/);
  });

  it('makes no label of what a client wrote', async () => {
    const models = Array.from({ length: 500 }, (_, i) => `no-such-model-${i}`);
    const text = await rendered(models.map((model) => aRecord({ ...refused, model })));
    expect(text).not.toContain('no-such-model');
    expect(text).toContain('vllm:admission_rejections_total{model_name="other",reason="dispatch.no-capacity"} 500');
  });
});

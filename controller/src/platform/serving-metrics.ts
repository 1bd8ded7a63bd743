import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** A request that ended, in base units. Every text is one of a bounded set: they become labels. */
export interface EndedRequest {
  /** Of one expert, of several together, or what one of several was asked. */
  readonly role: 'single' | 'joint' | 'call';
  readonly state: 'succeeded' | 'failed' | 'refused' | 'cancelled';
  /** `chat`, `text_completion`, `embeddings` or `score`. */
  readonly operation: string;
  /** The model that was asked for; `other` for one that the fleet does not know. */
  readonly requestModel: string;
  readonly expert: string | undefined;
  readonly variant: string | undefined;
  readonly device: string | undefined;
  readonly finishReason: 'stop' | 'length';
  /** Code of what ended it; undefined where it succeeded. */
  readonly errorType: string | undefined;
  /** The gate made no prediction for its prompt. */
  readonly abstained: boolean;
  readonly durationS: number;
  readonly firstTokenS: number | undefined;
  readonly use: TokenUse | undefined;
  /** As the device says of the last attempt. */
  readonly engine: { readonly queueS: number; readonly prefillS: number; readonly decodeS: number } | undefined;
}

export interface TokenUse {
  readonly energyJ: number;
  readonly energySource: string;
  readonly promptTokens: number;
  /** Of the prompt, tokens that an earlier request had left evaluated. */
  readonly cachedTokens: number;
  readonly outputTokens: number;
}

/** Jobs of an expert, at all devices. */
export interface ExpertLoad {
  readonly running: number;
  readonly waiting: number;
}

/** Name of this server among those that OpenTelemetry's conventions call providers. */
export const PROVIDER = 'fleetgate';

// Buckets as vLLM has them, so that its dashboards show what they were made for.
const VLLM_REQUEST_S = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
const VLLM_FIRST_TOKEN_S = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const VLLM_BETWEEN_TOKENS_S = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
// Buckets that OpenTelemetry's GenAI conventions ask for.
const OTEL_DURATION_S = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const OTEL_FIRST_TOKEN_S = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const OTEL_PER_TOKEN_S = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
const OTEL_TOKENS = Array.from({ length: 14 }, (_, power) => 4 ** power);

/** What vLLM tells of its requests, under its names; `model_name` is the expert. */
export class VllmMetrics {
  readonly #running: Gauge<'model_name'>;
  readonly #waiting: Gauge<'model_name'>;
  readonly #promptTokens: Counter<'model_name'>;
  readonly #outputTokens: Counter<'model_name'>;
  readonly #cacheQueries: Counter<'model_name'>;
  readonly #cacheHits: Counter<'model_name'>;
  readonly #ended: Counter<'model_name' | 'finished_reason'>;
  readonly #rejections: Counter<'model_name' | 'reason'>;
  readonly #firstToken: Histogram<'model_name'>;
  readonly #betweenTokens: Histogram<'model_name'>;
  readonly #duration: Histogram<'model_name'>;
  readonly #queue: Histogram<'model_name'>;
  readonly #prefill: Histogram<'model_name'>;
  readonly #decode: Histogram<'model_name'>;

  constructor(registry: Registry) {
    const registers = [registry];
    const counter = <L extends string = never>(name: string, help: string, ...more: L[]): Counter<'model_name' | L> =>
      new Counter({ name: `vllm:${name}_total`, help, labelNames: ['model_name', ...more], registers });
    const histogram = (name: string, help: string, buckets: number[]): Histogram<'model_name'> =>
      new Histogram({ name: `vllm:${name}_seconds`, help, labelNames: ['model_name'], buckets, registers });
    const gauge = (name: string, help: string): Gauge<'model_name'> =>
      new Gauge({ name: `vllm:${name}`, help, labelNames: ['model_name'], registers });
    this.#running = gauge('num_requests_running', 'Jobs that devices work on.');
    this.#waiting = gauge('num_requests_waiting', 'Jobs that wait at devices.');
    this.#promptTokens = counter('prompt_tokens', 'Tokens of prompts.');
    this.#outputTokens = counter('generation_tokens', 'Tokens generated.');
    this.#cacheQueries = counter('prefix_cache_queries', 'Tokens of prompts that might have been evaluated before.');
    this.#cacheHits = counter('prefix_cache_hits', 'Tokens of prompts that were.');
    this.#ended = counter('request_success', 'Requests that ended after they were taken.', 'finished_reason');
    this.#rejections = counter('admission_rejections', 'Requests that were not taken.', 'reason');
    this.#firstToken = histogram('time_to_first_token', 'From arrival to the first token.', VLLM_FIRST_TOKEN_S);
    this.#betweenTokens = histogram(
      'inter_token_latency',
      'Between tokens: the mean of each request.',
      VLLM_BETWEEN_TOKENS_S,
    );
    this.#duration = histogram('e2e_request_latency', 'From arrival to end.', VLLM_REQUEST_S);
    this.#queue = histogram('request_queue_time', 'Waiting at the device.', VLLM_REQUEST_S);
    this.#prefill = histogram('request_prefill_time', 'Reading the prompt.', VLLM_REQUEST_S);
    this.#decode = histogram('request_decode_time', 'Writing the answer.', VLLM_REQUEST_S);
  }

  observe(request: EndedRequest): void {
    const { role, state, use, engine, firstTokenS } = request;
    const labels = { model_name: request.expert ?? request.requestModel };
    if (use !== undefined && role !== 'joint') {
      this.#promptTokens.inc(labels, use.promptTokens);
      this.#outputTokens.inc(labels, use.outputTokens);
      this.#cacheQueries.inc(labels, use.promptTokens);
      this.#cacheHits.inc(labels, use.cachedTokens);
    }
    if (role === 'call') return;
    if (state === 'refused') this.#rejections.inc({ ...labels, reason: request.errorType ?? '' });
    else this.#ended.inc({ ...labels, finished_reason: finishedReason(request) });
    if (state !== 'succeeded') return;
    this.#duration.observe(labels, request.durationS);
    if (firstTokenS !== undefined) this.#firstToken.observe(labels, firstTokenS);
    const betweenTokens = perTokenS(request);
    if (betweenTokens !== undefined) this.#betweenTokens.observe(labels, betweenTokens);
    if (engine === undefined || role === 'joint') return;
    this.#queue.observe(labels, engine.queueS);
    this.#prefill.observe(labels, engine.prefillS);
    this.#decode.observe(labels, engine.decodeS);
  }

  show(loads: ReadonlyMap<string, ExpertLoad>): void {
    this.#running.reset();
    this.#waiting.reset();
    for (const [model_name, { running, waiting }] of loads) {
      this.#running.set({ model_name }, running);
      this.#waiting.set({ model_name }, waiting);
    }
  }
}

type ModelLabels = 'gen_ai_operation_name' | 'gen_ai_provider_name' | 'gen_ai_request_model' | 'gen_ai_response_model';
const MODEL_LABELS: readonly ModelLabels[] = [
  'gen_ai_operation_name',
  'gen_ai_provider_name',
  'gen_ai_request_model',
  'gen_ai_response_model',
];

/** Requests of clients under the names of OpenTelemetry's GenAI conventions, in their Prometheus form. */
export class GenAiMetrics {
  readonly #duration: Histogram<ModelLabels | 'error_type'>;
  readonly #firstToken: Histogram<ModelLabels>;
  readonly #perToken: Histogram<ModelLabels>;
  readonly #tokens: Histogram<ModelLabels | 'gen_ai_token_type'>;

  constructor(registry: Registry) {
    const histogram = <L extends string = never>(
      name: string,
      help: string,
      buckets: number[],
      ...more: L[]
    ): Histogram<ModelLabels | L> =>
      new Histogram({
        name: `gen_ai_${name}`,
        help,
        labelNames: [...MODEL_LABELS, ...more],
        buckets,
        registers: [registry],
      });
    this.#duration = histogram('server_request_duration_seconds', 'To the last token.', OTEL_DURATION_S, 'error_type');
    this.#firstToken = histogram('server_time_to_first_token_seconds', 'To the first token.', OTEL_FIRST_TOKEN_S);
    this.#perToken = histogram(
      'server_time_per_output_token_seconds',
      'Per token after the first: the mean of each request.',
      OTEL_PER_TOKEN_S,
    );
    this.#tokens = histogram('client_token_usage', 'Tokens of a request.', OTEL_TOKENS, 'gen_ai_token_type');
  }

  observe(request: EndedRequest): void {
    const { role, state, use, variant, errorType, firstTokenS } = request;
    if (role === 'call') return;
    const labels: Partial<Record<ModelLabels, string>> = {
      gen_ai_operation_name: request.operation,
      gen_ai_provider_name: PROVIDER,
      gen_ai_request_model: request.requestModel,
      ...(variant === undefined ? {} : { gen_ai_response_model: variant }),
    };
    this.#duration.observe(errorType === undefined ? labels : { ...labels, error_type: errorType }, request.durationS);
    if (use !== undefined) {
      this.#tokens.observe({ ...labels, gen_ai_token_type: 'input' }, use.promptTokens);
      this.#tokens.observe({ ...labels, gen_ai_token_type: 'output' }, use.outputTokens);
    }
    if (state !== 'succeeded') return;
    if (firstTokenS !== undefined) this.#firstToken.observe(labels, firstTokenS);
    const perToken = perTokenS(request);
    if (perToken !== undefined) this.#perToken.observe(labels, perToken);
  }
}

/** Mean time of the tokens after the first; undefined where there are none. */
function perTokenS({ durationS, firstTokenS, use }: EndedRequest): number | undefined {
  if (firstTokenS === undefined || use === undefined || use.outputTokens < 2) return undefined;
  return Math.max(0, durationS - firstTokenS) / (use.outputTokens - 1);
}

function finishedReason({ state, finishReason }: EndedRequest): 'stop' | 'length' | 'abort' | 'error' {
  if (state === 'succeeded') return finishReason;
  return state === 'cancelled' ? 'abort' : 'error';
}

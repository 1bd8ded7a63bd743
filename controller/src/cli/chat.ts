import type { RequestView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import { type Command, InvalidArgumentError } from 'commander';

import { COLLABORATIONS, MODES } from '../dispatch/prompt.js';
import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { ChatStreamReader } from './chat-stream.js';
import { printJson, printLine, showNumber, styled } from './output.js';

interface ChatOptions extends ConnectOptions {
  readonly model: string;
  readonly mode?: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly energy?: number;
  readonly latency?: number;
  readonly maxCalls?: number;
  readonly json?: boolean;
}

type Explanation = Pick<RequestView, 'expertId' | 'variantId' | 'deviceId' | 'why' | 'actual' | 'predicted'> & {
  readonly requestId: string;
};

/** Longest time an answer may take; Ctrl-C ends it sooner, on the device too. */
const ANSWER_TIMEOUT_MS = 600_000;

export function registerChat(program: Command): void {
  const command = program
    .command('chat')
    .description('send one prompt through the fleet and show the answer as it comes, who gave it, and what it cost')
    .argument('<prompt>', 'the prompt')
    .option(
      '--model <id>',
      `auto, auto:eco, auto:fast, auto:best, ${COLLABORATIONS.join(', ')}, or the name of an expert or variant`,
      'auto',
    )
    .option(
      '--mode <mode>',
      `how quality is weighed against energy and latency (${MODES.join(', ')}), or how several experts answer ` +
        `(${COLLABORATIONS.join(', ')})`,
    )
    .option('--max-calls <n>', 'experts that may be asked where several answer', positive)
    .option('--max-tokens <n>', 'longest answer, tokens', positive)
    .option('--temperature <t>', 'how much chance is in the answer, 0 to 2', amount)
    .option('--energy <joules>', 'refuse when no expert can answer with so little energy', positive)
    .option('--latency <ms>', 'refuse when no expert can answer so soon', positive)
    .addHelpText('after', '\nExample: fleetgate chat --mode eco "What is 12 times 12?"');
  withConnection(command).action((prompt: string, options: ChatOptions) => chat(prompt, options));
}

async function chat(prompt: string, options: ChatOptions): Promise<void> {
  const client = new ApiClient(options);
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  const response = await client.request('POST', '/v1/chat/completions', requestBody(prompt, options), signal);
  const reader = new ChatStreamReader();
  let text = '';
  let explanation: Explanation | undefined;
  let usage: unknown;
  for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    for (const event of reader.read(piece)) {
      if (event.error !== undefined) throw cutOff(event.error.message);
      text += event.text;
      if (options.json !== true) process.stdout.write(plain(event.text));
      explanation = (event.fleetgate as Explanation | undefined) ?? explanation;
      usage = event.usage ?? usage;
    }
  }
  if (!reader.done) throw cutOff('the connection to the controller ended');
  if (options.json === true) {
    printJson({ text, usage, fleetgate: explanation });
    return;
  }
  printLine();
  if (explanation !== undefined) printLine(styled('dim', summaryOf(explanation)));
}

function requestBody(prompt: string, options: ChatOptions): object {
  return {
    model: options.model,
    messages: [{ role: 'user', content: prompt }],
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: options.maxTokens,
    temperature: options.temperature,
    fleetgate: {
      explain: true,
      mode: options.mode,
      energyJ: options.energy,
      latencyMs: options.latency,
      maxCalls: options.maxCalls,
    },
  };
}

/** One line: expert, device, joules, milliseconds, why. */
function summaryOf({ expertId, deviceId, actual, why }: Explanation): string {
  const energy = `${showNumber(actual?.energyJ, 'J', 2)} ${actual?.energySource ?? ''}`.trim();
  return `${expertId} on ${deviceId} | ${energy} | ${showNumber(actual?.latencyMs, 'ms', 0)} | ${why}`;
}

/** A model must not move the cursor of whoever reads it. */
const plain = (text: string): string => text.replaceAll(/[^\P{Cc}\n\t]/gu, '');

function cutOff(message: string): FleetError {
  return new FleetError('device.lost', `the answer broke off: ${message}`, { hint: 'ask again', retryable: true });
}

function positive(value: string): number {
  const number = Number(value);
  if (!(number > 0) || !Number.isFinite(number)) throw new InvalidArgumentError(`expected more than 0, got ${value}.`);
  return number;
}

function amount(value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !(number >= 0)) throw new InvalidArgumentError(`expected 0 or more, got ${value}.`);
  return number;
}

/**
 * Entry of the least that a controller on Node and MQTT can be: `brokerUrl`. It carries prompts to devices in turns and
 * answers back. No framework, check, gate, decision, budget, deadline, ledger or metric: what they cost is ours beyond it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

import { connectAsync } from 'mqtt';

import type { EnrolAnswer } from '@fleetgate/shared/api/operations';
import { deviceId, fleetId, jobId } from '@fleetgate/shared/ids';
import { encode } from '@fleetgate/shared/protocol/codec';
import type { JobOut } from '@fleetgate/shared/protocol/job';
import { fleetFilter, jobsTopic, parseTopic } from '@fleetgate/shared/protocol/topics';
import { PROTOCOL_VERSION as v } from '@fleetgate/shared/protocol/version';

import { serve } from './process-server.js';

const [, , brokerUrl = ''] = process.argv;
const fleet = fleetId('bare');
const devices: ReturnType<typeof deviceId>[] = [];
const waiting = new Map<string, (out: JobOut) => void>();
let asked = 0;

const client = await connectAsync(brokerUrl, { protocolVersion: 4, clientId: 'bare-controller', writeCache: false });
client.on('message', (topic, payload) => {
  waiting.get(parseTopic(topic)?.job ?? '')?.(JSON.parse(payload.toString('utf8')) as JobOut);
});
await client.subscribeAsync(fleetFilter(fleet, 'job-out'), { qos: 0 });

interface ChatBody {
  readonly messages: readonly object[];
  readonly max_tokens: number;
  readonly seed: number;
  readonly stream?: boolean;
}

serve(
  createServer((request, response) => {
    bodyOf(request, (body) => {
      if (request.url === '/api/v1/enrol') enrol(body as { readonly name: string }, response);
      else chat(body as ChatBody, response);
    });
  }),
);

function bodyOf(request: IncomingMessage, then: (body: unknown) => void): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => then(JSON.parse(Buffer.concat(chunks).toString('utf8'))));
}

function enrol({ name }: { readonly name: string }, response: ServerResponse): void {
  devices.push(deviceId(name));
  const answer: EnrolAnswer = { fleet, deviceId: name, mqttUrl: brokerUrl, secret: 'none' };
  response.end(JSON.stringify(answer));
}

function chat({ messages, max_tokens: maxTokens, seed, stream }: ChatBody, response: ServerResponse): void {
  const id = jobId(`job-${asked}`);
  const device = devices[asked++ % devices.length];
  if (device === undefined) {
    response.writeHead(503).end();
    return;
  }
  if (stream === true) response.writeHead(200, { 'content-type': 'text/event-stream' });
  let text = '';
  waiting.set(id, (out) => {
    if (out.kind === 'tokens') {
      if (stream === true) response.write(frameOf(id, out.text, null));
      else text += out.text;
    } else if (out.kind === 'done') {
      waiting.delete(id);
      if (stream === true) response.end(`${frameOf(id, '', 'stop')}data: [DONE]\n\n`);
      else response.setHeader('content-type', 'application/json').end(answerOf(id, text, out.usage));
    }
  });
  const sampling = { maxTokens, temperature: 0, topP: 1, stop: [], seed };
  const job = { v, jobId: id, kind: 'chat', variantId: 'bare', messages, sampling, timeoutMs: 30_000 };
  client.publish(jobsTopic(fleet, device), encode(job), { qos: 1 });
}

function frameOf(id: string, content: string, finish: 'stop' | null): string {
  const choices = [{ index: 0, delta: { content }, logprobs: null, finish_reason: finish }];
  return `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1, model: 'bare', choices })}\n\n`;
}

function answerOf(
  id: string,
  content: string,
  usage: { readonly promptTokens: number; readonly outputTokens: number },
): string {
  const message = { role: 'assistant', content };
  const choices = [{ index: 0, message, logprobs: null, finish_reason: 'stop' }];
  const { promptTokens, outputTokens } = usage;
  const counted = { prompt_tokens: promptTokens, completion_tokens: outputTokens };
  return JSON.stringify({ id, object: 'chat.completion', created: 1, model: 'bare', choices, usage: counted });
}

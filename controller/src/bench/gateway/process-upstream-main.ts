/** Entry of an OpenAI-compatible server that answers at once and always the same: what gateways are measured in front of. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout } from 'node:timers/promises';

import { ANSWER_FRAMES, PACED, serve, words } from './process-server.js';

const HEAD = { created: 1_700_000_000, model: 'stub', system_fingerprint: 'fp_0123456789' };
const ID = 'chatcmpl-0123456789abcdefghijklmn';

const body = JSON.stringify({
  id: ID,
  object: 'chat.completion',
  ...HEAD,
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: words(ANSWER_FRAMES), refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 60, completion_tokens: ANSWER_FRAMES, total_tokens: 60 + ANSWER_FRAMES },
});

const frames = Array.from({ length: ANSWER_FRAMES }, (_, at) => {
  const isLast = at === ANSWER_FRAMES - 1;
  const choice = { index: 0, delta: { content: words(1) }, logprobs: null, finish_reason: isLast ? 'stop' : null };
  return `data: ${JSON.stringify({ id: ID, object: 'chat.completion.chunk', ...HEAD, choices: [choice] })}\n\n`;
});

function bodyOf(request: IncomingMessage, whole: (text: string) => void): void {
  let text = '';
  request.setEncoding('utf8');
  request.on('data', (chunk: string) => (text += chunk));
  request.on('end', () => whole(text));
}

async function pace(response: ServerResponse): Promise<void> {
  for (const frame of frames) {
    await setTimeout(1);
    response.write(frame);
  }
  response.end('data: [DONE]\n\n');
}

serve(
  createServer((request, response) => {
    bodyOf(request, (text) => {
      if (!text.includes('"stream":true')) {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
        response.end(body);
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
      const isPaced = Number(/"seed":(\d+)/.exec(text)?.[1] ?? 0) > PACED;
      if (isPaced) void pace(response);
      else {
        for (const frame of frames) response.write(frame);
        response.end('data: [DONE]\n\n');
      }
    });
  }),
);

/** Entry of the least that a gateway written for Node can be: every request is passed on as it is, over kept connections. */
import { Agent, createServer, request as send } from 'node:http';

import { serve } from './process-server.js';

const port = Number(process.argv[2]);
const agent = new Agent({ keepAlive: true, maxSockets: 256 });

serve(
  createServer((request, response) => {
    const { method, url, headers } = request;
    const upstream = send({ port, host: '127.0.0.1', agent, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => {
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end();
    });
    response.on('close', () => {
      if (!response.writableFinished) upstream.destroy();
    });
    request.pipe(upstream);
  }),
);

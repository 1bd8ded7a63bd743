import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { once } from 'node:events';

import { afterEach, describe, expect, it } from 'vitest';

import { limitConnections } from './http-connections.js';

const ASK = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n';

describe('limitConnections', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close().closeAllConnections();
  });

  async function listening(answer: RequestListener) {
    const server = createServer(answer);
    const kept = limitConnections(server, 100);
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const open = async (): Promise<Socket> => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      return socket;
    };
    return { kept, open, server };
  }

  /** A connection's own `close` comes before that of what was being answered on it. */
  const gone = (server: Server): Promise<void> =>
    new Promise((resolve) => {
      server.once('connection', (socket) => socket.once('close', () => setImmediate(resolve)));
    });

  it('keeps nothing of connections that are closed: after an answer, within one, and before one', async () => {
    const { kept, open, server } = await listening((request, response) => {
      request.resume();
      if (request.headers['x-late'] === undefined) response.end('ok');
      else response.write('o');
    });
    for (const head of ['Connection: close\r\n', 'X-Late: 1\r\n', 'Expect: 1\r\n']) {
      const closed = gone(server);
      const socket = await open();
      socket.write(`${ASK}${head}\r\n${head.startsWith('Expect') ? '' : '{}'}`);
      if (!head.startsWith('Expect')) await once(socket, 'data');
      if (head.startsWith('Connection')) socket.resume();
      else socket.destroy();
      await closed;
      expect(kept(), head).toBe(0);
    }
  });

  it('counts a connection that waits for its next request once', async () => {
    const { kept, open } = await listening((request, response) => {
      request.resume();
      response.end('ok');
    });
    const socket = await open();
    for (let at = 0; at < 3; at++) {
      socket.write(`${ASK}\r\n{}`);
      await once(socket, 'data');
      expect(kept()).toBe(1);
    }
    socket.destroy();
  });
});

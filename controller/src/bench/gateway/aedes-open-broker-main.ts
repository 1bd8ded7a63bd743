/** Entry of a broker that lets everybody in and limits nobody: the product's own lets a device say 1,000 things a second. */
import { type AddressInfo, createServer } from 'node:net';

import { Aedes } from 'aedes';

import { ready } from './process-server.js';

// As in the product's broker: every message is delivered at once.
const engine = await Aedes.createBroker({ concurrency: 0, heartbeatInterval: 500_000_000 });
const server = createServer({ noDelay: true }, (socket) => engine.handle(socket));
server.listen(0, '127.0.0.1', () => ready((server.address() as AddressInfo).port));

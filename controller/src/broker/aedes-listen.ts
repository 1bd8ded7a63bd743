import type { AddressInfo, Server } from 'node:net';

import { FleetError } from '@fleetgate/shared/errors';

/** Resolves once `server` listens. Rejects with `port.taken`, or `config.invalid` for an address it cannot have. */
export async function listen(server: Server, host: string, port: number, option: string): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, { host, port, option })));
    server.listen({ host, port }, resolve);
  });
  server.removeAllListeners('error');
  // Out of file descriptors: the connection is lost, the broker is not.
  server.on('error', () => {});
  const address = server.address();
  if (address === null || typeof address === 'string') {
    throw new FleetError('internal.invariant', 'a TCP server has no TCP address');
  }
  return address;
}

function listenError(
  cause: NodeJS.ErrnoException,
  { host, port, option }: { readonly host: string; readonly port: number; readonly option: string },
): FleetError {
  const what = `MQTT broker cannot listen on ${host}:${port}`;
  if (cause.code === 'EADDRINUSE') {
    return new FleetError('port.taken', `${what}: the port is taken`, {
      cause,
      hint: `stop what listens there, or choose another port with ${option} (0 picks a free one)`,
      context: { host, port },
    });
  }
  return new FleetError('config.invalid', `${what}: ${cause.message}`, {
    cause,
    hint: 'expected an address of this machine, and a port above 1023 unless started as root',
    context: { host, port },
  });
}

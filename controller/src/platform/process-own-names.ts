import { hostname, networkInterfaces } from 'node:os';

/** By what this machine may be reached at the moment: its name and its addresses, without those that need a zone. */
export function ownNames(): readonly string[] {
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const addresses = interfaces.map(({ address }) => address).filter((address) => !address.startsWith('fe80:'));
  return [...new Set(['localhost', hostname(), '127.0.0.1', ...addresses])];
}

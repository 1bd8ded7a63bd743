import { networkInterfaces } from 'node:os';

/** IPv4 addresses of this machine. */
export function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((ones) =>
    (ones ?? []).filter(({ family }) => family === 'IPv4').map(({ address }) => address),
  );
}

import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { Metrics } from '../controller/src/platform/metrics.js';

/** Those that prom-client collects of its process. */
const PROCESS = /^fleetgate_(?:process|nodejs)_/;

describe('docs/metrics.md', () => {
  it('names every metric of the controller with its kind, and no other', async () => {
    const metrics = new Metrics(() => ({
      devices: [],
      brokerConnected: true,
      liveFeedClients: 0,
      planObjective: undefined,
      gateDegraded: false,
      learning: undefined,
      dispatch: undefined,
      loads: new Map(),
    }));
    const told = [...(await metrics.render()).matchAll(/^# TYPE (\S+) (\S+)$/gm)]
      .map(([, name = '', kind = '']) => `${name} ${kind}`)
      .filter((line) => !PROCESS.test(line));
    const page = readFileSync(new URL('../docs/metrics.md', import.meta.url), 'utf8');
    const written = [...page.matchAll(/^\| `([^`]+)`\s+\| (\w+)/gm)].map(
      ([, name = '', kind = '']) => `${name} ${kind}`,
    );
    expect(written.toSorted()).toEqual(told.toSorted());
  });
});

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FleetError } from '@fleetgate/shared/errors';

import { childrenOf, commandLineOf } from '../bench/load/linux-process-tree.js';
import { LocalFleet } from './local-fleet.js';
import { printNote } from './output.js';

const BROKER_ENTRY = 'process-broker-main';
const BROKER_TRIES = 100;
const BROKER_TRY_MS = 100;

/** A controller and its broker in processes of their own, without a device. */
export interface BareFleet {
  readonly url: string;
  readonly key: string | undefined;
  readonly joinToken: string;
  /** Of the controller's data. */
  readonly folder: string;
  controllerPid(): number;
  brokerPid(): Promise<number>;
  /** In order. */
  stop(): Promise<void>;
}

/** Starts one for `work`, in `keep` or in a folder that is removed afterwards. Rejects when it cannot be kept alive. */
export async function withBareFleet<T>(keep: string | undefined, work: (fleet: BareFleet) => Promise<T>): Promise<T> {
  const dataDir = keep ?? mkdtempSync(join(tmpdir(), 'fleetgate-bare-'));
  const at = { host: '127.0.0.1', httpPort: 0, mqttPort: 0 };
  const fleet = new LocalFleet({ dataDir, ...at, devices: 0, logLevel: 'warn', say: printNote });
  const folder = join(dataDir, 'controller');
  const controllerPid = (): number => fleet.pids().get('controller') ?? -1;
  try {
    const { httpUrl: url } = await Promise.race([fleet.start(), fleet.failed]);
    const joinToken = readFileSync(join(folder, 'join-token'), 'utf8').trim();
    const result = work({
      ...{ url, key: fleet.apiKey, joinToken, folder, controllerPid },
      brokerPid: () => brokerOf(controllerPid()),
      stop: () => fleet.stop(),
    });
    return await Promise.race([result, fleet.failed]);
  } finally {
    await fleet.stop();
    if (keep === undefined) rmSync(dataDir, { recursive: true, force: true });
  }
}

/** A killed one is started again within a second or so. */
async function brokerOf(controller: number): Promise<number> {
  for (let tries = 0; tries < BROKER_TRIES; tries++) {
    for (const pid of await childrenOf(controller)) {
      if ((await commandLineOf(pid)).includes(BROKER_ENTRY)) return pid;
    }
    await new Promise((resolve) => setTimeout(resolve, BROKER_TRY_MS));
  }
  throw new FleetError('setup.missing', 'the controller has no broker process');
}

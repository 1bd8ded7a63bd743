import { resolve } from 'node:path';

import type { Command } from 'commander';

import type { PlanView } from '@fleetgate/shared/api/operations';
import { claimDataDir } from '@fleetgate/shared/disk-data-dir';

import { untilReady } from './fleet-ready.js';
import { type Listening, LocalFleet } from './local-fleet.js';
import { countOption, portOption } from './options.js';

interface UpOptions {
  readonly data: string;
  readonly host: string;
  readonly httpPort: number;
  readonly mqttPort: number;
  readonly fleet: number | 'none';
  readonly logLevel: string;
  readonly json?: boolean;
}

export function registerUp(program: Command): void {
  program
    .command('up')
    .description('start a controller, its broker, database and dashboard, and a local fleet of agents on this machine')
    .option('--data <dir>', 'where everything is kept', '.fleetgate')
    .option('--host <address>', 'address to listen on; anything but loopback needs an API key', '127.0.0.1')
    .option('--http-port <port>', 'port of the API and the dashboard, 0 for a free one', portOption, 8080)
    .option('--mqtt-port <port>', 'port of the MQTT broker, 0 for a free one', portOption, 1883)
    .option(
      '--fleet <n|none>',
      'number of agents to start: a Jetson, a Raspberry Pi and a phone profile by turns',
      fleetOption,
      3,
    )
    .option('--log-level <level>', 'error, warn, info or debug; logs are kept in DIR/logs', 'info')
    .option('--json', 'print the ready line as one JSON document')
    .action((options: UpOptions) => up(options));
}

async function up(options: UpOptions): Promise<void> {
  const dataDir = resolve(options.data);
  const release = claimDataDir(dataDir);
  const say = (text: string): void => void process.stderr.write(`fleetgate: ${text}\n`);
  const fleet = new LocalFleet({
    dataDir,
    host: options.host,
    httpPort: options.httpPort,
    mqttPort: options.mqttPort,
    devices: options.fleet === 'none' ? 0 : options.fleet,
    logLevel: options.logLevel,
    say,
  });
  const interrupted = new Promise<'interrupted'>((done) => {
    process.once('SIGINT', () => done('interrupted'));
    process.once('SIGTERM', () => done('interrupted'));
    process.once('disconnect', () => done('interrupted'));
  });
  const over = new AbortController();
  try {
    const started = Date.now();
    const listening = await Promise.race([fleet.start(), fleet.failed, interrupted]);
    if (listening === 'interrupted') return;
    say(`controller listens on ${listening.httpUrl}`);
    const expected = options.fleet === 'none' ? 0 : options.fleet;
    const becoming = untilReady(listening, expected, say, over.signal, fleet.apiKey);
    const ready = await Promise.race([becoming, fleet.failed, interrupted]);
    if (ready === 'interrupted') return;
    announce(listening, ready, Date.now() - started, options.json === true);
    await Promise.race([interrupted, fleet.failed]);
    say('stopping');
  } finally {
    over.abort();
    await fleet.stop();
    release();
  }
}

function announce(listening: Listening, plan: PlanView | undefined, ms: number, json: boolean): void {
  const fields = {
    dashboard: `${listening.httpUrl}/`,
    api: `${listening.httpUrl}/v1`,
    mqtt: listening.mqttUrl,
    plan: plan?.id ?? null,
    seconds: Number((ms / 1000).toFixed(1)),
  };
  if (json) process.stdout.write(`${JSON.stringify({ event: 'ready', ...fields })}\n`);
  else
    process.stdout.write(
      `ready  dashboard ${fields.dashboard}  api ${fields.api}  mqtt ${fields.mqtt}  plan ${fields.plan ?? 'none'}  (${fields.seconds} s)\n`,
    );
}

function fleetOption(value: string): number | 'none' {
  return value === 'none' ? 'none' : countOption(value);
}

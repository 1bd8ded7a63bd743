// A dispatcher with a ledger on disk that takes requests until it is killed. Says `sent ID` before a job leaves for a device and
// `told ID` when a client would have its answer, each written before anything else happens. Runs from dist.
import { writeSync } from 'node:fs';
import { join } from 'node:path';

import { systemClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { systemRandom } from '@fleetgate/shared/random';

import { DISPATCH_DEFAULTS } from '../../controller/dist/dispatch/dispatch-config.js';
import * as fixtures from '../../controller/dist/dispatch/dispatch-fixtures.js';
import { Dispatcher } from '../../controller/dist/dispatch/dispatcher.js';
import { openJournal } from '../../controller/dist/platform/disk-journal.js';
import { SqliteLedger } from '../../controller/dist/dispatch/sqlite-ledger.js';
import { dispatchSchema } from '../../controller/dist/dispatch/sqlite-request-row.js';
import { ScriptedExpertLink } from '../../controller/dist/dispatch/scripted-expert-link.js';
import { openDatabase } from '../../controller/dist/platform/sqlite-database.js';
import { WorkloadModel } from '../../controller/dist/telemetry/workload-model.js';

const directory = process.argv[2];
const say = (line) => writeSync(1, `${line}\n`);
const database = await openDatabase(join(directory, 'control.sqlite'), [dispatchSchema]);
const journal = openJournal(join(directory, 'requests.journal'), silentLogger);
const ledger = new SqliteLedger({ database, clock: systemClock, log: silentLogger, journal });
const devices = [fixtures.aDevice('pi', ['math-q8_0'], { concurrency: 1024 })];
const catalogue = fixtures.aCatalogue([fixtures.anExpert('math')]);
const policy = fixtures.aPolicy(devices);

class TellingLink extends ScriptedExpertLink {
  send(device, job) {
    say(`sent ${job.jobId.slice(0, job.jobId.lastIndexOf('-'))}`);
    return super.send(device, job);
  }
}
let jobs = 0;
const link = new TellingLink((job) => {
  job.accepted();
  job.tokens('four');
  // Every third one is under way when the end comes.
  if (jobs++ % 3 !== 0) setImmediate(() => job.done());
});
const dispatcher = new Dispatcher({
  fleet: new fixtures.FixtureFleet(devices),
  catalogue: () => catalogue,
  gate: () => fixtures.aGate({ math: 0.6 }),
  costs: new fixtures.FixtureCosts(),
  workloads: new WorkloadModel(),
  policy: () => policy,
  link,
  ledger,
  clock: systemClock,
  random: systemRandom,
  log: silentLogger,
  onDemand: () => {},
  config: { ...DISPATCH_DEFAULTS, maxInFlight: 100_000, maxQueuedPerDevice: 100_000 },
});
await dispatcher.start();

async function ask() {
  const request = dispatcher.accept(fixtures.aPrompt());
  for await (const event of request.events) {
    if (event.kind === 'done') say(`told ${request.id}`);
    if (event.kind === 'failed') say(`refused ${request.id} ${event.error.message}`);
  }
}
setInterval(() => void ask(), 2);

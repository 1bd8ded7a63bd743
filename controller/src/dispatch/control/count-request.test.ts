import { ManualClock } from '@fleetgate/shared/clock';
import { classId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { joules, milliseconds } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { WorkloadModel } from '../../telemetry/workload-model.js';
import { DISPATCH_DEFAULTS } from '../dispatch-config.js';
import {
  aCatalogue,
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aPrompt,
  FixtureCosts,
  FixtureFleet,
} from '../dispatch-fixtures.js';
import { Dispatcher } from '../dispatcher.js';
import { MemoryLedger } from '../memory-ledger.js';
import { ScriptedExpertLink } from '../scripted-expert-link.js';
import { BudgetControl } from './budget-control.js';
import type { ControlFacts } from './control-facts.js';

const ANY = classId('any');

/** A class whose mean is bounded to a tenth of what its only expert needs. */
function world() {
  const clock = new ManualClock();
  const devices = [aDevice('a', ['math-q8_0'])];
  const facts: ControlFacts = {
    requestPower: undefined,
    plannedRate: 1,
    utilisationCap: 0.7,
    powerPrice: 0,
    classes: new Map([
      [
        ANY,
        {
          weight: 1,
          latencyMean: milliseconds(20_000),
          energyMean: joules(0.5),
          minServed: 0,
          energyPrice: 0,
          latencyPrice: 0,
        },
      ],
    ]),
  };
  const control = new BudgetControl({
    clock,
    facts: () => facts,
    budgets: () => ({}),
    chargeOf: () => undefined,
    concurrencyOf: () => 1,
  });
  const link = new ScriptedExpertLink((job) => {
    job.accepted();
    if (job.job.kind === 'score') job.scored(1, 1);
    else job.done('stop', { energyJ: 5 });
  });
  const dispatcher = new Dispatcher({
    fleet: new FixtureFleet(devices),
    catalogue: () => aCatalogue([anExpert('math')]),
    gate: () => aGate({ math: 0.5 }),
    costs: new FixtureCosts(),
    workloads: new WorkloadModel(),
    policy: () => aPolicy(devices),
    link,
    ledger: new MemoryLedger(),
    clock,
    random: new SeededRandom(1),
    log: silentLogger,
    onDemand: () => {},
    control,
    config: DISPATCH_DEFAULTS,
  });
  const ask = async (prompt: ReturnType<typeof aPrompt>): Promise<string> => {
    const request = dispatcher.accept(prompt);
    for await (const _ of request.events);
    return request.record().state;
  };
  return { ask, control };
}

describe('a class whose mean energy is bounded', () => {
  it('turns requests away that exceed it again and again, and evaluates all the same', async () => {
    const { ask, control } = world();
    const score = aPrompt('math', { input: { kind: 'score', prompt: 'two and two?', completion: 'four' } });
    for (let n = 0; n < 30; n++) expect(await ask(score)).toBe('succeeded');
    // Evaluating has not used up what requests may need.
    expect(control.forRequest(ANY, undefined)?.qualityPerJoule).toBe(0);
    const states: string[] = [];
    for (let n = 0; n < 30; n++) states.push(await ask(aPrompt('math')));
    expect(states[0]).toBe('succeeded');
    expect(states.at(-1)).toBe('refused');
    expect(await ask(score)).toBe('succeeded');
  });
});

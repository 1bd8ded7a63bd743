import { ManualClock } from '@fleetgate/shared/clock';
import { deviceId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import type { JobOut } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { WorkloadModel } from '../telemetry/workload-model.js';
import { DISPATCH_DEFAULTS } from './dispatch-config.js';
import {
  aCatalogue,
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aPrompt,
  FixtureCosts,
  FixtureFleet,
} from './dispatch-fixtures.js';
import { Dispatcher } from './dispatcher.js';
import { TERMINAL_STATES } from './ledger.js';
import { MemoryLedger } from './memory-ledger.js';
import type { RequestEvent } from './request-events.js';
import { ScriptedExpertLink } from './scripted-expert-link.js';

const NAMES = ['a', 'b', 'c'] as const;

/** One thing that may happen; numbers pick among what is there, modulo how much there is. */
type Step =
  | { readonly kind: 'accept' }
  | {
      readonly kind: 'say';
      readonly what: 'accepted' | 'tokens' | 'done' | 'failed' | 'broken' | 'cancelled';
      readonly job: number;
    }
  | { readonly kind: 'repeat'; readonly message: number }
  | { readonly kind: 'forge'; readonly message: number; readonly device: number }
  | { readonly kind: 'lose'; readonly job: number }
  | { readonly kind: 'abort'; readonly request: number }
  | { readonly kind: 'offline' | 'online'; readonly device: number }
  | { readonly kind: 'wait'; readonly ms: number };

const index = fc.nat(50);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ kind: 'accept' as const }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('say' as const),
      what: fc.constantFrom('accepted', 'tokens', 'tokens', 'done', 'failed', 'broken', 'cancelled'),
      job: index,
    }),
  },
  fc.record({ kind: fc.constant('repeat' as const), message: index }),
  fc.record({ kind: fc.constant('forge' as const), message: index, device: index }),
  fc.record({ kind: fc.constant('lose' as const), job: index }),
  fc.record({ kind: fc.constant('abort' as const), request: index }),
  fc.record({ kind: fc.constantFrom('offline' as const, 'online' as const), device: index }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(100, 300, 1500, 4000, 12_000, 40_000) }),
);

const cases = fc.record({
  steps: fc.array(step, { maxLength: 60 }),
  seed: fc.nat(),
  canResume: fc.boolean(),
  /** With so little time that a second device is asked when the first token is late. */
  isTight: fc.boolean(),
});

const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % Math.max(1, list.length)];
const isEnd = ({ kind }: RequestEvent): boolean => kind === 'done' || kind === 'scored' || kind === 'failed';

describe('Dispatcher, whatever happens in whatever order', () => {
  it('ends every request exactly once and forgets no job', async () => {
    let hedged = 0;
    await fc.assert(
      fc.asyncProperty(cases, async ({ steps, seed, canResume, isTight }) => {
        const abilities = canResume ? ['resume'] : [];
        const devices = NAMES.map((name) => aDevice(name, ['math-q8_0'], { abilities }));
        const clock = new ManualClock();
        const fleet = new FixtureFleet(devices);
        const link = new ScriptedExpertLink();
        const ledger = new MemoryLedger();
        const catalogue = aCatalogue([anExpert('math')]);
        const ends = new Map<string, number>();
        ledger.changes$.subscribe(({ id, state }) => {
          // Once ended, a record may come again, but never in another state.
          if (TERMINAL_STATES.has(state)) ends.set(`${id} ${state}`, 1);
        });
        const dispatcher = new Dispatcher({
          fleet,
          catalogue: () => catalogue,
          gate: () => aGate({ math: 0.5 }),
          costs: new FixtureCosts(),
          workloads: new WorkloadModel(),
          policy: () => aPolicy(devices),
          link,
          ledger,
          clock,
          random: new SeededRandom(seed),
          log: silentLogger,
          onDemand: () => {},
          config: { ...DISPATCH_DEFAULTS, maxInFlight: 8, maxQueuedPerDevice: 2, hedgeShare: 1 },
        });
        const said: { readonly deviceId: ReturnType<typeof deviceId>; readonly out: JobOut }[] = [];
        link.out$.subscribe((message) => said.push(message));
        const limits = { latency: milliseconds(1900), energy: undefined };
        const requests: { readonly abort: AbortController; readonly seen: RequestEvent[] }[] = [];
        const accept = (): void => {
          const abort = new AbortController();
          const seen: RequestEvent[] = [];
          const { events } = dispatcher.accept(aPrompt('auto', isTight ? { limits } : {}), abort.signal);
          void (async () => {
            for await (const event of events) seen.push(event);
          })();
          requests.push({ abort, seen });
        };
        const take = (one: Step): void => {
          switch (one.kind) {
            case 'accept':
              accept();
              return;
            case 'say': {
              const job = pick(link.jobs, one.job);
              if (one.what === 'accepted') job?.accepted();
              else if (one.what === 'tokens') job?.tokens('x');
              else if (one.what === 'failed') job?.failed('engine.crashed');
              else if (one.what === 'broken') job?.failed('request.invalid', false);
              else job?.done(one.what === 'done' ? 'stop' : 'cancelled');
              return;
            }
            case 'repeat': {
              const message = pick(said, one.message);
              if (message !== undefined) link.say(message.deviceId, message.out);
              return;
            }
            case 'forge': {
              const message = pick(said, one.message);
              if (message !== undefined) link.say(deviceId(pick(NAMES, one.device) ?? 'a'), message.out);
              return;
            }
            case 'lose':
              pick(link.jobs, one.job)?.skip();
              return;
            case 'abort':
              pick(requests, one.request)?.abort.abort();
              return;
            case 'offline':
              fleet.offline(pick(NAMES, one.device) ?? 'a');
              return;
            case 'online':
              fleet.online(pick(NAMES, one.device) ?? 'a');
              return;
            case 'wait':
              clock.advance(one.ms);
          }
        };
        for (const one of steps) {
          take(one);
          await Promise.resolve();
          expect(dispatcher.inFlight).toBeLessThanOrEqual(8);
        }
        // Time alone ends what is left: nothing waits for ever.
        clock.advance(DISPATCH_DEFAULTS.requestTimeout);
        clock.advance(DISPATCH_DEFAULTS.drainTimeout);
        await new Promise((resolve) => setImmediate(resolve));
        expect(dispatcher.inFlight).toBe(0);
        expect(dispatcher.jobsInFlight).toBe(0);
        for (const { seen } of requests) {
          expect(seen.filter(isEnd)).toHaveLength(1);
          expect(isEnd(seen.at(-1) ?? { kind: 'tokens', text: '', tokens: 1 })).toBe(true);
        }
        expect(ends.size).toBe(requests.length);
        const { accepted, succeeded, failed, refused, cancelled } = dispatcher.stats;
        expect(succeeded + failed + refused + cancelled).toBe(accepted);
        expect(accepted).toBe(requests.length);
        hedged += dispatcher.stats.hedgesWon;
        await dispatcher.close();
      }),
      { numRuns: 300 },
    );
    expect(hedged).toBeGreaterThan(0);
  });
});

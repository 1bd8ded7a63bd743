import { ManualClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { joules, milliseconds } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ConfidenceModel } from '../../gating/confidence.js';
import type { Answered, Observation } from '../../gating/evidence-sink.js';
import { WorkloadModel } from '../../telemetry/workload-model.js';
import { DISPATCH_DEFAULTS } from '../dispatch-config.js';
import {
  aCatalogue,
  aCost,
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aPrompt,
  aVariant,
  costsBy,
  FixtureFleet,
} from '../dispatch-fixtures.js';
import { type DispatchedRequest, Dispatcher } from '../dispatcher.js';
import { MemoryLedger } from '../memory-ledger.js';
import type { Collaboration, Prompt } from '../prompt.js';
import type { RequestEvent } from '../request-events.js';
import { type ScriptedJob, ScriptedExpertLink } from '../scripted-expert-link.js';
import { COLLABORATION_DEFAULTS, Collaborator } from './collaborator.js';

const TOKENIZER = 'b'.repeat(64);
const mixing = (name: string, parameters = 1_000_000) => {
  const variant = aVariant(name);
  return anExpert(name, [{ ...variant, facts: { ...variant.facts, parameters, tokenizer: TOKENIZER } }]);
};

/** Three experts, one a device; `large` has the most parameters and the highest cost. */
function world(behave: (job: ScriptedJob) => void, maxCalls: number = COLLABORATION_DEFAULTS.maxCalls) {
  const catalogue = aCatalogue([mixing('small'), mixing('other'), mixing('large', 9_000_000)]);
  const devices = [
    aDevice('a', ['small-q8_0'], { concurrency: 8 }),
    aDevice('b', ['other-q8_0'], { concurrency: 8 }),
    aDevice('c', ['large-q8_0'], { concurrency: 8 }),
  ];
  const clock = new ManualClock();
  const fleet = new FixtureFleet(devices);
  const link = new ScriptedExpertLink(behave);
  const ledger = new MemoryLedger();
  const demand: string[] = [];
  const answered: Answered[] = [];
  const observed: Observation[] = [];
  const perToken: Readonly<Record<string, number>> = { a: 0.025, b: 0.025, c: 0.1 };
  const costs = costsBy((device, _variant, { outputTokens }) => aCost(100, (perToken[device] ?? 0) * outputTokens));
  const dispatcher = new Dispatcher({
    fleet,
    catalogue: () => catalogue,
    gate: () => aGate({ small: 0.6, other: 0.4, large: 0.62 }),
    costs,
    workloads: new WorkloadModel(),
    policy: () => aPolicy(devices, { qualityPerJoule: 0.01 }),
    link,
    ledger,
    clock,
    random: new SeededRandom(1),
    log: silentLogger,
    onDemand: (id) => demand.push(id),
    config: DISPATCH_DEFAULTS,
  });
  const collaborator = new Collaborator({
    ...COLLABORATION_DEFAULTS,
    maxCalls,
    dispatcher,
    catalogue: () => catalogue,
    costs,
    confidence: new ConfidenceModel(() => ({ mean: -1, sd: 0.4, slope: 0.1 })),
    ledger,
    evidence: { answered: (one) => answered.push(one), observe: (one) => observed.push(one) },
    clock,
    random: new SeededRandom(1),
    log: silentLogger,
    requestTimeout: DISPATCH_DEFAULTS.requestTimeout,
  });
  const ask = (collaboration: Collaboration, more: Partial<Prompt> = {}) =>
    collaborator.accept(aPrompt('auto', { collaboration, ...more }));
  return { clock, fleet, link, ledger, demand, answered, observed, dispatcher, collaborator, ask };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function read({ events }: DispatchedRequest): Promise<{ text: string; end: RequestEvent; kinds: string[] }> {
  let text = '';
  const kinds: string[] = [];
  let end: RequestEvent | undefined;
  for await (const event of events) {
    kinds.push(event.kind);
    if (event.kind === 'tokens') text += event.text;
    end = event;
  }
  if (end === undefined) throw new Error('no event came');
  return { text, end, kinds };
}

const expertOf = (job: ScriptedJob): string => job.job.variantId.replace(/-q8_0$/, '');

/** Everyone answers at once with `texts`, as sure as `sureness` says. */
const answering =
  (texts: Readonly<Record<string, string>>, sureness: Readonly<Record<string, number>> = {}) =>
  (job: ScriptedJob): void => {
    job.accepted();
    const text = texts[expertOf(job)];
    if (text === undefined) {
      job.failed('engine.crashed');
      return;
    }
    job.tokens(text);
    job.done('stop', {}, sureness[expertOf(job)]);
  };

describe('cascade', () => {
  it('keeps the answer of a cheap expert that is sure of it', async () => {
    const { ask, link, ledger, demand } = world(answering({ small: 'four', large: 'FOUR' }, { small: -0.3 }));
    const dispatched = ask('cascade');
    const { text, end, kinds } = await read(dispatched);
    expect({ text, kinds }).toEqual({ text: 'four', kinds: ['chosen', 'tokens', 'done'] });
    expect(link.jobs.map(expertOf)).toEqual(['small']);
    expect(end).toMatchObject({ kind: 'done', usage: { energyJ: 1.5 } });
    const record = await ledger.get(dispatched.id);
    expect(record).toMatchObject({ state: 'succeeded', mode: 'cascade', expertId: 'small' });
    expect(record?.collaboration?.calls).toMatchObject([{ role: 'first', outcome: 'succeeded', meanLogProb: -0.3 }]);
    expect(record?.collaboration?.quality).toBeCloseTo(0.67, 6);
    expect(demand).toHaveLength(1);
  });

  it('asks the better expert when the first is unsure, and gives only its answer', async () => {
    const { ask, link, ledger } = world(answering({ small: 'five', large: 'four' }, { small: -3 }));
    const dispatched = ask('cascade');
    const { text, end } = await read(dispatched);
    expect(text).toBe('four');
    expect(link.jobs.map(expertOf)).toEqual(['small', 'large']);
    expect(end).toMatchObject({ kind: 'done', choice: { expertId: 'large' }, usage: { energyJ: 3 } });
    expect((await ledger.get(dispatched.id))?.actual?.energyJ).toBe(3);
  });

  it('asks the better expert when the first fails', async () => {
    const { ask } = world(answering({ large: 'four', other: 'x' }));
    expect(await read(ask('cascade'))).toMatchObject({ text: 'four', end: { kind: 'done' } });
  });

  it('gives the unsure answer when the caps leave nothing for a better one', async () => {
    const { ask, ledger } = world(answering({ small: 'five', large: 'four' }, { small: -3 }));
    const dispatched = ask('cascade', { limits: { energy: undefined, latency: undefined, calls: 1 } });
    expect((await read(dispatched)).text).toBe('five');
    expect((await ledger.get(dispatched.id))?.why).toContain('kept though unsure');
  });
});

describe('vote', () => {
  it('gives the answer with the most weight behind it, and records who agreed', async () => {
    const { ask, ledger } = world(
      answering({ small: 'The answer is 4', other: 'The answer is 5', large: 'The answer is 4' }),
    );
    const dispatched = ask('vote');
    const { text } = await read(dispatched);
    expect(text).toBe('The answer is 4');
    const record = await ledger.get(dispatched.id);
    expect(record?.why).toContain('agree');
    expect(record?.collaboration?.calls.every(({ weight }) => weight === null || weight <= 1)).toBe(true);
  });

  it('tells who agreed with whom, and who answered, to be learned from', async () => {
    const { answered, ask, observed } = world(
      answering({ small: 'The answer is 4', other: 'The answer is 5', large: 'The answer is 4' }),
    );
    const { id } = ask('vote');
    await settle();
    await settle();
    const seen = observed.map(({ expert, value }): [string, number] => [expert, value]);
    const among = (expert: string, others: readonly number[]): boolean =>
      seen.filter(([name]) => name === expert).every(([, value]) => others.includes(value));
    expect(seen.length).toBeGreaterThan(1);
    expect(among('small', [0.5, 1]) && among('large', [0.5, 1]) && among('other', [0])).toBe(true);
    expect(observed.every(({ source, subject }) => source === 'agreement' && subject === id)).toBe(true);
    expect(answered).toEqual([expect.objectContaining({ requestId: id })]);
  });

  it('is not asked of more experts than the request may call', async () => {
    const { ask, link } = world(
      answering({ small: 'The answer is 4', other: 'The answer is 5', large: 'The answer is 6' }),
      2,
    );
    await read(ask('vote'));
    expect(link.jobs.length).toBeLessThanOrEqual(2);
  });

  it('goes on without a voter that fails, and fails when all do', async () => {
    const one = world(answering({ large: 'The answer is 4' }));
    expect((await read(one.ask('vote'))).text).toBe('The answer is 4');
    const none = world(answering({}));
    expect((await read(none.ask('vote'))).end).toMatchObject({ kind: 'failed' });
  });
});

describe('brief', () => {
  const question = { kind: 'chat', messages: [{ role: 'user', content: 'how is diabetes treated?' }] } as const;

  it('gives the largest model what is relevant of what an expert wrote', async () => {
    const { ask, link, ledger } = world(
      answering({ small: 'Diabetes is treated with insulin. Cats are nice animals.', large: 'With insulin.' }),
    );
    const dispatched = ask('brief', { input: question });
    expect((await read(dispatched)).text).toBe('With insulin.');
    const asked = link.jobs.at(-1)?.job;
    expect(asked?.kind === 'chat' ? asked.messages[0]?.content : '').toBe(
      'Background: Diabetes is treated with insulin.\n\nhow is diabetes treated?',
    );
    expect((await ledger.get(dispatched.id))?.why).toContain('1 of 2 sentences kept');
  });

  it('leaves out what the context of the larger model has no room for', async () => {
    const long = 'how is diabetes treated? '.repeat(400);
    const { ask, link } = world(answering({ small: 'Diabetes is treated with insulin.', large: 'With insulin.' }));
    expect((await read(ask('brief', { input: { kind: 'complete', prompt: long } }))).text).toBe('With insulin.');
    expect(link.jobs.at(-1)?.job).toMatchObject({ prompt: long });
  });

  it('answers without background where nothing of it is relevant, or nobody can write it', async () => {
    const irrelevant = world(answering({ small: 'Cats are nice animals.', large: 'Insulin.' }));
    await read(irrelevant.ask('brief', { input: question }));
    expect(irrelevant.link.jobs.at(-1)?.job).toMatchObject({ messages: [{ content: 'how is diabetes treated?' }] });
    const failing = world(answering({ large: 'Insulin.' }));
    expect((await read(failing.ask('brief', { input: question }))).text).toBe('Insulin.');
  });
});

/** Tokens 1, 2, 3 write a, b, c; 9 ends the answer. Each expert would go on with the token that `wishes` has for the step. */
const mixingAgents = (
  wishes: Readonly<Record<string, readonly number[]>>,
  promptBits: Readonly<Record<string, number>>,
) => {
  const say = (job: ScriptedJob, step: number, text: string): void => {
    const wish = wishes[expertOf(job)]?.[step] ?? 9;
    job.next(step, { [wish]: 0.9, 8: 0.05 }, text, step === 0 ? promptBits[expertOf(job)] : undefined);
  };
  return {
    start: (job: ScriptedJob): void => {
      job.accepted();
      if (wishes[expertOf(job)] === undefined) job.failed('engine.crashed', false);
      else say(job, 0, '');
    },
    goOn: (job: ScriptedJob, step: number, token: number): void => {
      if (token === 9) job.done('stop');
      else say(job, step + 1, ' abc'.charAt(token));
    },
  };
};

describe('ensemble', () => {
  it('writes what the mixture wants, and follows the expert that explains the text', async () => {
    const agents = mixingAgents(
      { small: [1, 2, 3, 9], other: [2, 1, 1, 9], large: [1, 2, 3, 9] },
      { small: 10, other: 12, large: 11 },
    );
    const { ask, link, ledger } = world(agents.start);
    link.onNext = agents.goOn;
    const dispatched = ask('ensemble');
    const { text, end } = await read(dispatched);
    expect({ text, end }).toMatchObject({ text: 'abc', end: { kind: 'done', finishReason: 'stop' } });
    const { collaboration } = (await ledger.get(dispatched.id)) ?? {};
    expect(collaboration?.calls.map(({ outcome }) => outcome)).toEqual(['succeeded', 'succeeded', 'succeeded']);
    const weights = new Map(collaboration?.calls.map(({ expertId, weight }) => [expertId, weight ?? 0]));
    expect(weights.get('small')).toBeGreaterThan(weights.get('other') ?? 1);
    expect([...weights.values()].reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 9);
  });

  it('goes on without members that fail at once, are late, or fall silent', async () => {
    const agents = mixingAgents({ small: [1, 2, 3, 9], large: [1, 2, 3, 9] }, { small: 10, large: 10 });
    const { ask, link, clock, dispatcher } = world(agents.start);
    let isSilent = false;
    link.onNext = (job, step, token) => {
      if (expertOf(job) === 'large' && step >= 1) isSilent = true;
      else agents.goOn(job, step, token);
    };
    const reading = read(ask('ensemble'));
    for (let turn = 0; turn < 20; turn++) {
      await settle();
      if (isSilent) clock.advance(5001);
    }
    expect(await reading).toMatchObject({ text: 'abc', end: { kind: 'done' } });
    expect(dispatcher.inFlight).toBe(0);
  });

  it('ends at the joules that the request may use, and at the length of its answer', async () => {
    const endless = () => {
      const one = world((job) => {
        job.accepted();
        job.next(0, { 1: 0.9 });
      });
      one.link.onNext = (job, step) => job.next(step + 1, { 1: 0.9 }, 'a');
      return one;
    };
    // a token of `small` and of `other` is 0.025 J each, of `large` 0.1 J
    const { ask, link } = endless();
    const { text } = await read(ask('ensemble', { limits: { energy: joules(2.31), latency: undefined } }));
    expect(link.jobs.map(expertOf)).toEqual(['small', 'other']);
    expect(text).toHaveLength(46);
    const long = await read(endless().ask('ensemble'));
    expect(long.text).toHaveLength(64);
    expect(long.end).toMatchObject({ kind: 'done', finishReason: 'length' });
  });

  it('gives the bits of a text under the mixture', async () => {
    const { ask, ledger } = world((job) => {
      job.accepted();
      const own = { small: [1, 1], other: [9, 9], large: [2, 2] }[expertOf(job)] ?? [];
      job.scored(
        own.reduce((sum, bits) => sum + bits, 0),
        4,
        { promptBits: 10, tokenBits: own },
      );
    });
    const dispatched = ask('ensemble', { input: { kind: 'score', prompt: 'p', completion: 'text' } });
    const { end } = await read(dispatched);
    expect(end.kind === 'scored' ? end.bits : NaN).toBeGreaterThan(2);
    expect(end.kind === 'scored' ? end.bits : NaN).toBeLessThan(4.5);
    expect((await ledger.get(dispatched.id))?.collaboration?.calls).toHaveLength(3);
  });
});

describe('the caps of a request', () => {
  const perToken: Readonly<Record<string, number>> = { small: 0.025, other: 0.025, large: 0.1 };

  it('hold whatever the way, the answers and the failures', async () => {
    const round = fc.record({
      how: fc.constantFrom('cascade', 'vote', 'brief', 'ensemble' as const),
      calls: fc.integer({ min: 1, max: 4 }),
      energy: fc.double({ min: 0.1, max: 7, noNaN: true }),
      fails: fc.subarray(['small', 'other', 'large']),
      sureness: fc.double({ min: -5, max: 0, noNaN: true }),
    });
    await fc.assert(
      fc.asyncProperty(round, async ({ how, calls, energy, fails, sureness }) => {
        let used = 0;
        const { ask, link, dispatcher } = world((job) => {
          job.accepted();
          if (fails.includes(expertOf(job))) job.failed('engine.crashed', false);
          else if (job.job.kind === 'mix') job.next(0, { 1: 0.9 });
          else if ('sampling' in job.job) {
            // every answer is as long as it may be
            const outputTokens = job.job.sampling.maxTokens;
            const energyJ = (perToken[expertOf(job)] ?? 0) * outputTokens;
            used += energyJ;
            job.tokens('The answer is 4. ');
            job.done('length', { energyJ, outputTokens }, sureness);
          }
        });
        link.onNext = (job, step) => {
          used += perToken[expertOf(job)] ?? 0;
          job.next(step + 1, { 1: 0.9 }, 'a');
        };
        const { end } = await read(ask(how, { limits: { energy: joules(energy), latency: undefined, calls } }));
        expect(['done', 'failed']).toContain(end.kind);
        expect(link.jobs.length).toBeLessThanOrEqual(calls);
        expect(used).toBeLessThanOrEqual(energy + 1e-9);
        expect(dispatcher.inFlight).toBe(0);
      }),
      { numRuns: 250 },
    );
  });
});

describe('a given answer', () => {
  const input = { kind: 'score', prompt: 'how is diabetes treated?', completion: 'With insulin.' } as const;
  const agents = (sureness: number) => (job: ScriptedJob) => {
    job.accepted();
    if (job.job.kind === 'score') {
      job.scored(expertOf(job) === 'large' ? 5 : 9, 13);
      return;
    }
    job.tokens('Diabetes is treated with insulin.');
    job.done('stop', {}, sureness);
  };

  it('is scored under the expert that a cascade leaves the prompt to', async () => {
    expect((await read(world(agents(-0.5)).ask('cascade', { input }))).end).toMatchObject({ kind: 'scored', bits: 9 });
    const unsure = world(agents(-4));
    expect((await read(unsure.ask('cascade', { input }))).end).toMatchObject({ bits: 5, usage: { energyJ: 3 } });
  });

  it('is scored under the larger model with its background', async () => {
    const { ask, link } = world(agents(-1));
    expect((await read(ask('brief', { input }))).end).toMatchObject({ kind: 'scored', bits: 5 });
    const background = 'Background: Diabetes is treated with insulin.\n\nhow is diabetes treated?';
    expect(link.jobs.at(-1)?.job).toMatchObject({ kind: 'score', prompt: background });
  });

  it('has no likelihood under a vote', async () => {
    expect((await read(world(agents(-1)).ask('vote', { input }))).end).toMatchObject({
      error: { code: 'request.invalid' },
    });
  });
});

describe('whatever the way', () => {
  it('asks only the experts that the client names, and refuses unknown ones', async () => {
    const { ask, link } = world(answering({ small: 'The answer is 4', other: 'x', large: 'The answer is 5' }));
    await read(ask('vote', { experts: ['small', 'large'] }));
    expect(link.jobs.map(expertOf).toSorted()).toEqual(['large', 'small']);
    const refused = (await read(ask('vote', { experts: ['small', 'nobody'] }))).end;
    expect(refused).toMatchObject({ kind: 'failed', error: { code: 'model.unknown' } });
  });

  it('ends its calls when the client goes away, and leaves nothing behind', async () => {
    for (const how of ['cascade', 'vote', 'brief', 'ensemble'] as const) {
      const { collaborator, dispatcher, link, ledger } = world((job) => job.accepted());
      const gone = new AbortController();
      const dispatched = collaborator.accept(aPrompt('auto', { collaboration: how }), gone.signal);
      await settle();
      expect(link.jobs.length, how).toBeGreaterThan(0);
      gone.abort();
      expect((await read(dispatched)).end, how).toMatchObject({ kind: 'failed', error: { code: 'job.cancelled' } });
      expect(link.cancelled.length, how).toBe(link.jobs.length);
      expect(dispatcher.inFlight, how).toBe(0);
      expect((await ledger.get(dispatched.id))?.state, how).toBe('cancelled');
      await collaborator.close();
    }
  });

  it('ends at the deadline of a request', async () => {
    const { ask, clock } = world((job) => job.accepted());
    const reading = read(ask('vote'));
    await settle();
    clock.advance(DISPATCH_DEFAULTS.requestTimeout);
    await settle();
    expect((await reading).end).toMatchObject({ kind: 'failed' });
  });

  it('is refused like any other where nobody may be asked', async () => {
    const { ask } = world(answering({ small: 'x' }));
    const limits = { energy: joules(0.01), latency: milliseconds(1) };
    expect((await read(ask('ensemble', { limits }))).end).toMatchObject({ kind: 'failed' });
  });

  it('hands on what one expert is to answer', async () => {
    const { collaborator, link } = world(answering({ small: 'four', other: 'x', large: 'y' }));
    await read(collaborator.accept(aPrompt('small')));
    expect(link.jobs.map(expertOf)).toEqual(['small']);
  });
});

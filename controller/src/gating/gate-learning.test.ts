import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ManualClock } from '@fleetgate/shared/clock';
import { classId, expertId, requestId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { afterEach, describe, expect, it } from 'vitest';

import type { Database } from '../platform/database.js';
import { openDatabase } from '../platform/sqlite-database.js';
import { SOURCE_WINDOW } from './evidence.js';
import { anEvidence, GATE, observations } from './evidence.fixture.js';
import type { GateScore } from './gate.js';
import { GateLearning } from './gate-learning.js';
import { LearningWriter } from './learning-writer.js';
import { learningSchema, SqliteLearningStore } from './sqlite-learning-store.js';

const law = classId('law');
const score: GateScore = {
  classId: law,
  promptTokens: 5,
  experts: new Map([[expertId('law'), { quality: 0.3, sd: 0.08, outputTokens: 20 }]]),
  embedding: new Float32Array([0.6, 0.8]),
};

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

interface Bench {
  readonly learning: GateLearning;
  readonly writer: LearningWriter;
  readonly store: SqliteLearningStore;
  readonly database: Database;
  readonly warnings: string[];
  stop(): Promise<void>;
}

async function bench(path: string, clock: ManualClock): Promise<Bench> {
  const database = await openDatabase(path, [learningSchema]);
  const store = new SqliteLearningStore(database, 3);
  const writer = new LearningWriter(store, clock, silentLogger);
  const warnings: string[] = [];
  const log = { ...silentLogger, warn: (event: string) => warnings.push(event) };
  const learning = await GateLearning.open({ store, writer, fingerprint: () => GATE, clock, log });
  const stop = async (): Promise<void> => {
    learning.close();
    await writer.flush();
    await database.close();
  };
  cleanups.push(stop);
  return { learning, writer, store, database, warnings, stop };
}

function place(): string {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-learning-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'control.sqlite');
}

function observe(learning: GateLearning, count: number, from = 0): void {
  for (const { subject, value } of observations(count, 0.5, { from })) {
    learning.observe({ source: 'reference', subject, expert: expertId('law'), score, value });
  }
}

describe('learning from use', () => {
  it('fits a batch once enough has come and time has passed, and goes on with it after a restart', async () => {
    const [path, clock] = [place(), new ManualClock()];
    const first = await bench(path, clock);
    observe(first.learning, 60);
    expect(first.learning.corrections().fits.size).toBe(0);
    clock.advance(31_000);
    expect(first.learning.adaptation.version).toBe(1);
    expect(first.learning.corrections()).toMatchObject({ gate: GATE, revision: 1 });
    await first.stop();

    const second = await bench(path, clock);
    expect(second.learning.corrections()).toEqual(first.learning.corrections());
    expect(second.learning.evidence).toEqual(first.learning.evidence);
    expect(second.learning.events[0]?.kind).toBe('gate.updated');
    clock.advance(3_600_000);
    expect(second.learning.adaptation.version).toBe(1);
  });

  it('does not wait forever for a full batch', async () => {
    const clock = new ManualClock();
    const { learning } = await bench(place(), clock);
    observe(learning, 24);
    clock.advance(31_000);
    expect(learning.adaptation.version).toBe(0);
    clock.advance(300_000);
    expect(learning.adaptation.version).toBe(1);
  });

  it('sets a record aside that it cannot use, and begins anew', async () => {
    const [path, clock] = [place(), new ManualClock()];
    const first = await bench(path, clock);
    observe(first.learning, 60);
    clock.advance(31_000);
    await first.stop();
    for (const document of ['{"adaptation":{"schema":"fleetgate-adaptation/2"}}', 'not json', '[1,2']) {
      const database = await openDatabase(path, [learningSchema]);
      await database.write((manager) => manager.query('UPDATE learning_state SET document = ?', [document]));
      await database.close();
      const next = await bench(path, clock);
      expect(next.warnings).toContain('gate.learning-set-aside');
      expect(next.learning.adaptation).toMatchObject({ version: 0, experts: {} });
      const kept = await next.database.source.query(
        "SELECT document FROM learning_state WHERE name = 'adaptation.invalid'",
      );
      expect(kept).toEqual([{ document }]);
      // The evidence is still there: it is learned from again.
      next.learning.learn();
      expect(next.learning.corrections().fits.size).toBe(1);
      await next.stop();
    }
  });

  it('leaves evidence out that it cannot read', async () => {
    const [path, clock] = [place(), new ManualClock()];
    const first = await bench(path, clock);
    observe(first.learning, 3);
    await first.writer.flush();
    await first.database.write((manager) =>
      manager.query('UPDATE evidence SET document = ? WHERE id = (SELECT min(id) FROM evidence)', ['{"value":7}']),
    );
    await first.stop();
    const second = await bench(path, clock);
    expect(second.learning.evidence).toHaveLength(2);
    expect(second.warnings).toEqual(['gate.evidence-unreadable']);
  });

  it('keeps a window of each source, so that a busy one pushes no rare one out', async () => {
    const { learning, writer, store } = await bench(place(), new ManualClock());
    observe(learning, 10);
    for (let at = 0; at < SOURCE_WINDOW + 50; at++) {
      learning.observe({ source: 'logprob', subject: `r${at}`, expert: expertId('law'), score, value: 0.5 });
    }
    expect(learning.counts()).toMatchObject({ reference: 10, logprob: SOURCE_WINDOW });
    await writer.flush();
    expect((await store.loadEvidence()).evidence).toHaveLength(SOURCE_WINDOW + 10);
  });

  it('keeps no text: neither the prompt nor anything else of it', async () => {
    const { learning, writer, database } = await bench(place(), new ManualClock());
    learning.answered({ requestId: requestId('req-1'), expert: expertId('law'), score, meanLogProb: -0.7 });
    await writer.flush();
    const rows = await database.source.query(
      'SELECT document FROM answer_context UNION ALL SELECT document FROM evidence',
    );
    expect(rows).toHaveLength(2);
    for (const { document } of rows as { document: string }[]) {
      const strings = Object.values(JSON.parse(document) as object).filter((value) => typeof value === 'string');
      expect(strings.every((value) => /^(?:logprob(?::req-1:law)?|req-1|law|gate-a)$/.test(value))).toBe(true);
    }
  });
});

describe('a rating', () => {
  const answered = (learning: GateLearning, id: string): void =>
    learning.answered({ requestId: requestId(id), expert: expertId('law'), score });

  it('counts for the expert that answered, and a later one takes its place', async () => {
    const { learning, writer } = await bench(place(), new ManualClock());
    answered(learning, 'req-1');
    expect(await learning.rate(requestId('req-1'), 1)).toEqual({ expert: 'law', replaced: false });
    await writer.flush();
    expect(await learning.rate(requestId('req-1'), 0)).toEqual({ expert: 'law', replaced: true });
    expect(learning.evidence).toEqual([
      expect.objectContaining({ source: 'feedback', value: 0, predicted: 0.3, classId: 'law', embedding: [0.6, 0.8] }),
    ]);
  });

  it('counts after a restart too, and not once its context has made room', async () => {
    const [path, clock] = [place(), new ManualClock()];
    const first = await bench(path, clock);
    for (let at = 0; at < 5; at++) {
      answered(first.learning, `req-${at}`);
      clock.advance(10);
    }
    await first.stop();
    const second = await bench(path, clock);
    expect(await second.learning.rate(requestId('req-4'), 1)).toEqual({ expert: 'law', replaced: false });
    expect(await second.learning.rate(requestId('req-0'), 1)).toBeUndefined();
    expect(await second.learning.rate(requestId('req-never'), 1)).toBeUndefined();
  });

  it('is of what the trained gate had said, not of what was learned since', async () => {
    const { learning } = await bench(place(), new ManualClock());
    const corrected = new Map([
      [expertId('law'), { quality: 0.5, sd: 0.06, outputTokens: 20, unlearned: { quality: 0.3, sd: 0.08 } }],
    ]);
    learning.observe({
      source: 'reference',
      subject: 'a',
      expert: expertId('law'),
      score: { ...score, experts: corrected },
      value: 0.5,
    });
    expect(learning.evidence[0]).toMatchObject({ predicted: 0.3, sd: 0.08 });
  });
});

it('evidence is told apart by source, subject and expert', () => {
  expect(anEvidence({ subject: 'a', at: unixMs(1) }).id).not.toBe(anEvidence({ subject: 'a', source: 'feedback' }).id);
});

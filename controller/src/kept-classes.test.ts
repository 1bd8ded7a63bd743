import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ManualClock } from '@fleetgate/shared/clock';
import { classId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { around, axesGate, axis } from './gating/class-tracker.fixture.js';
import { type Gate, OTHER_CLASS } from './gating/gate.js';
import { openClasses } from './kept-classes.js';

const MINUTE = milliseconds(60_000);
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-classes-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function start(gate: Gate) {
  const clock = new ManualClock();
  const warnings: string[] = [];
  const log = { ...silentLogger, warn: (event: string) => warnings.push(event) };
  return { clock, warnings, opening: openClasses(join(folder, 'classes.json'), gate, clock, log) };
}

/** A controller's life in which prompts of no class come until they are one. */
async function findOne(gate: Gate): Promise<void> {
  const { clock, opening } = start(gate);
  const kept = await opening;
  const prompts = around(axis(9), { classId: OTHER_CLASS, certainty: 0.4 });
  for (let count = 0; count < 40; count++) kept.following.observe(prompts());
  clock.advance(MINUTE);
  expect(kept.following.tracker?.found).toEqual(['new-1']);
  await kept.close();
}

it('goes on after a restart where it was', async () => {
  await findOne(axesGate(4));
  const kept = await start(axesGate(4)).opening;
  expect(kept.following.tracker?.found).toEqual(['new-1']);
  const prompts = around(axis(9), { classId: OTHER_CLASS, certainty: 0.4 }, 2);
  expect(kept.following.tracker?.classOf(prompts())).toBe('new-1');
  await kept.close();
});

it('begins anew with another trained gate', async () => {
  await findOne(axesGate(4));
  const kept = await start(axesGate(5)).opening;
  expect(kept.following.tracker?.found).toEqual([]);
  expect(kept.following.tracker?.state.classes).toHaveLength(5);
  await kept.close();
});

it('begins anew when the gate is replaced while it runs', async () => {
  let gate = axesGate(4);
  const live: Gate = {
    ...gate,
    get classes() {
      return gate.classes;
    },
    describe: (id) => gate.describe?.(id),
    classQuality: (id, expert) => gate.classQuality(id, expert),
  };
  const kept = await start(live).opening;
  kept.following.observe(around(axis(1), { classId: classId('class-1'), certainty: 1 })());
  expect(kept.following.tracker?.state.count).toBe(1);
  gate = axesGate(6);
  expect(kept.following.tracker?.state).toMatchObject({ count: 0, classes: { length: 6 } });
  await kept.close();
});

it('keeps the record while no gate is in use that it is of', async () => {
  await findOne(axesGate(4));
  const before = readFileSync(join(folder, 'classes.json'), 'utf8');
  const kept = await start({ ...axesGate(4), describe: () => undefined, classes: [] }).opening;
  expect(kept.following.tracker).toBeUndefined();
  await kept.close();
  expect(readFileSync(join(folder, 'classes.json'), 'utf8')).toBe(before);
});

it.each(['{"schema":"fleetgate-classes/9"}', '[]', '{"schema":"fleetgate-classes/1","gate":'])(
  'begins anew, with a warning, when the record is damaged: %s',
  async (text) => {
    writeFileSync(join(folder, 'classes.json'), text);
    const { opening, warnings } = start(axesGate(4));
    const kept = await opening;
    expect(kept.following.tracker?.found).toEqual([]);
    expect(warnings).toEqual(['classes.set-aside']);
    expect(readFileSync(join(folder, 'classes.json.invalid'), 'utf8')).toBe(text);
    await kept.close();
  },
);

import { beforeEach, describe, expect, it } from 'vitest';

import { ManualClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { ToLauncher } from './launch-messages.js';
import { FIRST_STATE, type LaunchState, MOST_STARTS, type Program } from './launch-state.js';
import { Launcher, type RunningProgram } from './launcher.js';

const TIMES = { deadline: milliseconds(10_000), survival: milliseconds(5000) };
const programOf = (sequence: number): Program => ({ name: 'agent', sequence, sha256: `${sequence}`.repeat(64) });

interface Started {
  readonly sequence: number | undefined;
  readonly say: (message: ToLauncher) => void;
  readonly end: (status: number | undefined) => Promise<void>;
  readonly told: LaunchState[];
}

let clock: ManualClock;
let kept: LaunchState;
let started: Started[];
beforeEach(() => {
  clock = new ManualClock();
  kept = FIRST_STATE;
  started = [];
});

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

function launch(): { readonly launcher: Launcher; readonly done: Promise<number> } {
  const launcher = new Launcher(
    {
      read: () => kept,
      keep: (state) => (kept = state),
      clean: () => {},
      start: (program, onMessage): RunningProgram => {
        const told: LaunchState[] = [];
        let resolve: (status: number | undefined) => void = () => {};
        const ended = new Promise<number | undefined>((done) => (resolve = done));
        const end = (status: number | undefined): Promise<void> => (resolve(status), settle());
        started.push({ sequence: program?.sequence, say: onMessage, end, told });
        return { ended, tell: (state) => told.push(state), stop: () => resolve(undefined) };
      },
      clock,
      log: silentLogger,
    },
    TIMES,
  );
  return { launcher, done: launcher.run() };
}
const last = (): Started => started.at(-1) as Started;
const offer = async (sequence: number): Promise<void> => {
  last().say({ kind: 'agent-offer', program: programOf(sequence) });
  await settle();
};

describe('the launcher', () => {
  it('takes a good program, and keeps it once it has gone on for long enough', async () => {
    launch();
    await offer(1);
    expect(last().sequence).toBe(1);
    expect(last().told.at(-1)?.onTrial).toBe(true);
    last().say({ kind: 'agent-healthy' });
    clock.advance(4000);
    last().say({ kind: 'agent-healthy' });
    expect(kept.onTrial).toBe(true);
    clock.advance(1000);
    expect(kept).toMatchObject({ stack: [programOf(1)], onTrial: false, starts: 0 });
    clock.advance(60_000);
    expect(last().told.at(-1)).toEqual(kept);
    expect(started).toHaveLength(2);
  });

  it('falls back from a program that ends at once, and does not take it again', async () => {
    launch();
    await offer(1);
    for (let i = 0; i < MOST_STARTS.trial; i++) {
      expect(last().sequence).toBe(1);
      await last().end(1);
      clock.advance(60_000);
      await settle();
    }
    expect(last().sequence).toBeUndefined();
    expect(last().told.at(-1)?.failed).toMatchObject([{ sequence: 1 }]);
    const before = started.length;
    await offer(1);
    expect(started).toHaveLength(before);
  });

  it('falls back from a program that says nothing until its deadline', async () => {
    launch();
    await offer(1);
    clock.advance(9999);
    expect(last().sequence).toBe(1);
    clock.advance(1);
    await settle();
    expect(last().sequence).toBeUndefined();
    expect(kept.failed[0]?.reason).toMatch(/within 10000 ms/);
  });

  it('falls back from a program that does well and then ends, again and again', async () => {
    launch();
    await offer(1);
    for (let i = 0; i < MOST_STARTS.trial; i++) {
      last().say({ kind: 'agent-healthy' });
      clock.advance(4000);
      await last().end(undefined);
      clock.advance(60_000);
      await settle();
    }
    expect(last().sequence).toBeUndefined();
  });

  it('falls back to the program that proved itself, also when the power goes in every trial', async () => {
    launch();
    await offer(1);
    last().say({ kind: 'agent-healthy' });
    clock.advance(5000);
    await offer(2);
    for (let i = 1; i < MOST_STARTS.trial; i++) launch();
    expect(last().sequence).toBe(2);
    launch();
    expect(last().sequence).toBe(1);
  });

  it('waits longer and longer between starts of an installed program that ends', async () => {
    launch();
    const starts: number[] = [];
    for (let second = 0; second < 200; second++) {
      if (started.length > starts.length) {
        starts.push(second);
        await last().end(1);
      }
      clock.advance(1000);
      await settle();
    }
    expect(starts).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183]);
  });

  it('ends with an installed program that refuses its options, and when it is told to stop', async () => {
    const refused = launch();
    await last().end(2);
    expect(await refused.done).toBe(2);
    const stopped = launch();
    await offer(1);
    const { starts } = kept;
    stopped.launcher.stop();
    expect(await stopped.done).toBe(0);
    expect(kept.starts).toBe(starts - 1);
  });
});

import { describe, expect, it } from 'vitest';

import { loadBoard } from '@fleetgate/firmware-configs/load-board';
import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { variantId } from '@fleetgate/shared/ids';

import { Failures } from './failures.js';
import { memoryBudget } from './memory-budget.js';
import { ReportLine } from './report-line.js';

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

describe('ReportLine', () => {
  function aLine() {
    const clock = new ManualClock(0);
    const sent: number[] = [];
    let works = true;
    const line = new ReportLine(clock, async () => {
      sent.push(clock.now());
      if (!works) throw new Error('no line');
    });
    const pass = async (duration: number) => {
      for (let i = 0; i < duration; i += 50) {
        clock.advance(50);
        await settle();
      }
    };
    return { line, sent, pass, setWorks: (value: boolean) => (works = value) };
  }

  it('publishes many changes as one every 250 ms', async () => {
    const { line, sent, pass } = aLine();
    for (let i = 0; i < 20; i++) {
      line.mark('change');
      await pass(50);
    }
    await pass(500);
    expect(sent.length).toBeLessThanOrEqual(5);
    expect(sent.length).toBeGreaterThanOrEqual(4);
  });

  it('publishes progress once a second, but a change among it soon', async () => {
    const { line, sent, pass } = aLine();
    for (let i = 0; i < 40; i++) {
      line.mark('progress');
      await pass(50);
    }
    expect(sent.length).toBeLessThanOrEqual(3);
    const before = sent.length;
    line.mark('change');
    await pass(300);
    expect(sent).toHaveLength(before + 1);
  });

  it('keeps what could not be published, until the line is back', async () => {
    const { line, sent, pass, setWorks } = aLine();
    setWorks(false);
    line.mark('change');
    await pass(100);
    setWorks(true);
    const before = sent.length;
    line.flush();
    await settle();
    expect(sent).toHaveLength(before + 1);
    await pass(5000);
    expect(sent).toHaveLength(before + 1);
  });
});

describe('Failures', () => {
  const variant = variantId('v1');

  it('hold a retryable failure back for longer each time, up to a minute', () => {
    const clock = new ManualClock(0);
    const failures = new Failures();
    const waits: number[] = [];
    for (let i = 0; i < 9; i++) {
      const error = new FleetError('artefact.unavailable', 'x', { retryable: true });
      waits.push(Number(failures.record(variant, 'fetch', error, clock.now()).retryAt) - clock.now());
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(failures.held(clock.now())).toEqual(new Set([variant]));
    clock.advance(60_000);
    expect(failures.held(clock.now())).toEqual(new Set());
  });

  it('hold any other failure for good, an unload excepted', () => {
    const clock = new ManualClock(0);
    const failures = new Failures();
    failures.record(variant, 'load', new Error('odd'), clock.now());
    clock.advance(1e9);
    expect(failures.held(clock.now())).toEqual(new Set([variant]));
    failures.clearAll();
    failures.record(variant, 'unload', new Error('odd'), clock.now());
    expect(failures.stuck(clock.now())).toEqual(new Set([variant]));
    expect(failures.nextRetry(clock.now())).toBe(clock.now() + 1000);
  });
});

describe('memoryBudget', () => {
  it.each([
    ['jetson-orin-nano', 24e9, 6e9],
    ['jetson-orin-nano', 8e9, 6e9],
    ['jetson-orin-nano', 4e9, 3e9],
    ['jetson-agx-orin', 24e9, 18e9],
    ['android-phone', 8e9, 4e9],
  ])('a %s on a machine of %s bytes may use %s', async (board, machine, expected) => {
    expect(memoryBudget(await loadBoard(board), machine)).toBe(expected);
  });
});

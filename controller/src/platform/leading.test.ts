import { ManualClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { BehaviorSubject } from 'rxjs';
import { describe, expect, it } from 'vitest';

import { TakingOver } from './leading.js';

function aController() {
  const term$ = new BehaviorSubject<number | undefined>(undefined);
  const clock = new ManualClock();
  const takeovers: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  const takeOver = (): Promise<void> =>
    new Promise((resolve, reject) => {
      takeovers.push({ resolve, reject });
    });
  const leading = new TakingOver({ leadership: { term$ }, takeOver, clock, log: silentLogger });
  const seen: boolean[] = [];
  leading.changes$.subscribe((now) => seen.push(now));
  return { term$, clock, takeovers, leading, seen };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('TakingOver', () => {
  it('leads when everything was taken over, and no longer than its term', async () => {
    const { term$, takeovers, leading, seen } = aController();
    term$.next(3);
    await settle();
    expect(leading.now()).toBe(false);
    takeovers[0]?.resolve();
    await settle();
    expect(leading.now()).toBe(true);
    term$.next(undefined);
    expect(leading.now()).toBe(false);
    expect(seen).toEqual([false, true, false]);
  });

  it('does not lead where its term ended meanwhile', async () => {
    const { term$, takeovers, leading } = aController();
    term$.next(3);
    term$.next(undefined);
    takeovers[0]?.resolve();
    await settle();
    expect(leading.now()).toBe(false);
    term$.next(5);
    takeovers[0]?.resolve();
    await settle();
    expect(leading.now()).toBe(false);
    takeovers[1]?.resolve();
    await settle();
    expect(leading.now()).toBe(true);
  });

  it('tries again what could not be taken over', async () => {
    const { term$, clock, takeovers, leading } = aController();
    term$.next(1);
    takeovers[0]?.reject(new Error('the database has gone'));
    await settle();
    clock.advance(500);
    takeovers[1]?.resolve();
    await settle();
    expect(leading.now()).toBe(true);
  });

  it('ends with a close', async () => {
    const { term$, takeovers, leading } = aController();
    term$.next(1);
    takeovers[0]?.resolve();
    await settle();
    leading.close();
    expect(leading.now()).toBe(false);
    term$.next(2);
    expect(takeovers).toHaveLength(1);
  });
});

import { describe, expect, it } from 'vitest';

import type { EngineState } from './engine.js';
import { EngineStatus } from './engine-status.js';

const DOWN: EngineState = { state: 'down', reason: 'no answer' };
const never = new AbortController().signal;

describe('EngineStatus', () => {
  it('tells each change once, and a new reason as well', () => {
    const status = new EngineStatus();
    const told: EngineState[] = [];
    const stop = status.onChange((state) => told.push(state));
    const other: EngineState = { state: 'down', reason: 'refused' };
    for (const state of [{ state: 'ready' }, DOWN, { ...DOWN }, other] as const) status.set(state);
    expect(told).toEqual([DOWN, other]);
    stop();
    status.set({ state: 'ready' });
    expect(told).toHaveLength(2);
    expect(status.current).toEqual({ state: 'ready' });
  });

  it.each([
    ['a change', (status: EngineStatus) => status.set(DOWN)],
    ['the close', (status: EngineStatus) => status.close()],
  ])('ends a wait with %s', async (_, end) => {
    const status = new EngineStatus();
    const change = status.nextChange(never);
    end(status);
    await change;
  });

  it('ends a wait that is aborted, before or meanwhile', async () => {
    const status = new EngineStatus();
    const abort = new AbortController();
    const change = status.nextChange(abort.signal);
    abort.abort();
    await change;
    await status.nextChange(abort.signal);
  });

  it('says nothing after its close', async () => {
    const status = new EngineStatus();
    const told: EngineState[] = [];
    status.onChange((state) => told.push(state));
    status.close();
    status.set(DOWN);
    await status.nextChange(never);
    expect(told).toEqual([]);
  });
});

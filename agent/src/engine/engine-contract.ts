import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { describeAnswers } from './answers-contract.js';
import { engineCalls, type EngineUnderTest, never } from './engine-calls.fixture.js';
import { describeExtras } from './extras-contract.js';
import { describeMixing } from './mixing-contract.js';

/** What every engine must do; run by each adapter's test. */
export function describeEngine(name: string, open: () => Promise<EngineUnderTest>): void {
  describe(`${name} keeps the engine contract`, () => {
    let under: EngineUnderTest;
    const calls = engineCalls(() => under);
    const { chat, run, mix, codeOf } = calls;

    beforeAll(async () => {
      under = await open();
      await under.engine.load(under.model, never);
    });
    afterAll(async () => under.close());

    it('is ready and has a version', async () => {
      expect(under.engine.state()).toEqual({ state: 'ready' });
      expect(await under.engine.version()).not.toBe('');
    });

    it('loads a resident variant again without harm', async () => {
      const loaded = await under.engine.load(under.model, never);
      expect(loaded.memory).toBeGreaterThanOrEqual(0);
      expect(loaded.loadTime).toBeGreaterThanOrEqual(0);
    });

    describeAnswers(calls);
    describeExtras(calls);
    describeMixing(calls);

    it('ends running jobs as cancelled when their variant is unloaded, and refuses new ones', async () => {
      let unloaded: Promise<void> | undefined;
      const { result } = await run({}, chat(), never, () => {
        unloaded ??= under.engine.unload(under.model.variantId);
      });
      await unloaded;
      expect(result.finishReason).toBe('cancelled');
      expect(await codeOf(run())).toBe('engine.unavailable');
      await under.engine.unload(under.model.variantId);
      if (under.scores) {
        await under.engine.load(under.model, never);
        const mixed = await mix({}, () => (void under.engine.unload(under.model.variantId), new Promise(() => {})));
        expect(mixed.result.finishReason).toBe('cancelled');
        expect(await codeOf(mix())).toBe('engine.unavailable');
        await under.engine.unload(under.model.variantId);
      }
      await under.engine.load(under.model, never);
      expect((await run({ maxTokens: 2 })).result.outputTokens).toBe(2);
    });

    it('closes twice without harm and takes no calls afterwards', async () => {
      await under.engine.close();
      await under.engine.close();
      expect(await codeOf(run())).toBe('engine.unavailable');
    });
  });
}

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { classId } from '@fleetgate/shared/ids';

import { TYPICAL_PROMPT_TOKENS, WorkloadModel } from './workload-model.js';

const math = classId('math');
const code = classId('code');

describe('lengths of prompts and answers', () => {
  it('are as the gate says before the first answer', () => {
    const model = new WorkloadModel();
    expect(model.promptTokens(math)).toBe(TYPICAL_PROMPT_TOKENS);
    expect([model.answerFactor(math), model.classFactor(math)]).toEqual([1, 1]);
  });

  it('are learned by class', () => {
    const model = new WorkloadModel();
    for (let i = 0; i < 200; i++) {
      // Clients of this class stop at 40 tokens what is 100 long in the mean; what the gate says of the prompt knows that.
      model.observe(math, { promptTokens: 20, outputTokens: 30, expectedTokens: 40, classTokens: 100 });
    }
    expect(model.promptTokens(math)).toBeCloseTo(24.7, 0);
    expect(model.answerFactor(math)).toBeCloseTo(0.765, 2);
    expect(model.classFactor(math)).toBeCloseTo(0.342, 2);
    expect(model.answerFactor(code)).toBe(1);
  });

  it('follow traffic that changes, and one answer moves them little', () => {
    const model = new WorkloadModel();
    const answer = { promptTokens: 50, outputTokens: 50, expectedTokens: 100, classTokens: 100 };
    model.observe(math, answer);
    expect(model.answerFactor(math)).toBeCloseTo(0.9, 9);
    for (let i = 0; i < 300; i++) model.observe(math, answer);
    for (let i = 0; i < 300; i++) model.observe(math, { ...answer, outputTokens: 200 });
    expect(model.answerFactor(math)).toBeGreaterThan(1.9);
  });

  it('are kept, and a damaged record is refused', () => {
    const model = new WorkloadModel();
    model.observe(math, { promptTokens: 50, outputTokens: 50, expectedTokens: 100, classTokens: 80 });
    const restored = WorkloadModel.fromRecord(JSON.parse(JSON.stringify(model.toRecord())));
    expect(restored.classFactor(math)).toBe(model.classFactor(math));
    expect(() => WorkloadModel.fromRecord({ schema: 'fleetgate-workloads/1', classes: [{}] })).toThrow(
      expect.objectContaining({ code: 'store.corrupt' }),
    );
  });

  it('stay positive and finite, whatever is observed', () => {
    const tokens = fc.oneof(fc.integer({ min: 0, max: 1e6 }), fc.constantFrom(NaN, -1));
    const answers = fc.array(
      fc.record({
        promptTokens: fc.nat(1e6),
        outputTokens: fc.nat(1e6),
        expectedTokens: tokens,
        classTokens: tokens,
      }),
      { maxLength: 50 },
    );
    fc.assert(
      fc.property(answers, (all) => {
        const model = new WorkloadModel();
        for (const one of all) model.observe(math, one);
        for (const value of [model.promptTokens(math), model.answerFactor(math), model.classFactor(math)]) {
          expect(Number.isFinite(value) && value > 0).toBe(true);
        }
      }),
    );
  });
});

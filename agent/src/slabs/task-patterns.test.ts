import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { SlabProfile } from './profile.js';
import { PromptRouting } from './prompt-routing.js';
import { nearestPattern, servedTasks } from './task-patterns.js';

const SHAPE = { layers: 3, slabsPerLayer: 4, slabsPerToken: 2 };

/** The first `known` layers of a token's routing, by the slabs that it chose. */
const token = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 3 }), { minLength: 2, maxLength: 2 }), {
  minLength: 3,
  maxLength: 3,
});

function put(routing: PromptRouting, tokens: readonly (readonly number[])[][], from: number): void {
  for (let layer = 0; layer < SHAPE.layers; layer++) {
    const slabs = Int32Array.from(tokens.flatMap((one) => one[layer] ?? []));
    const probabilities = Float32Array.from(tokens.flatMap(() => [0.125, 0.25, 0.5, 0.125]));
    routing.routed({ layer, tokens: tokens.length, slabsPerToken: 2, slabs, probabilities }, from);
  }
}

describe('PromptRouting', () => {
  it('knows of what was forgotten and read anew what it would know of the text read at once', () => {
    const texts = fc.array(token, { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(texts, texts, fc.nat(12), fc.nat(6), (before, after, kept, gap) => {
        const common = Math.min(kept, before.length);
        const routing = new PromptRouting(SHAPE, 32);
        put(routing, before, 0);
        routing.forget(common);
        // An answer lies between the prompts: it was not observed.
        put(routing, after, common + gap);
        const anew = new PromptRouting(SHAPE, 32);
        put(anew, [...before.slice(0, common), ...after], 0);
        expect(routing.importance).toEqual(anew.importance);
      }),
    );
  });

  it('knows of every layer but the last what was chosen', () => {
    const routing = new PromptRouting(SHAPE, 8);
    put(
      routing,
      [
        [
          [2, 0],
          [3, 2],
          [1, 2],
        ],
      ],
      0,
    );
    expect(routing.importance).toEqual([
      [0.125, 0, 0.5, 0],
      [0, 0, 0.5, 0.125],
      [0, 0, 0, 0],
    ]);
  });

  it('takes no notice of tokens with another number of slabs, or without probabilities', () => {
    const routing = new PromptRouting(SHAPE, 8);
    const slabs = Int32Array.of(1, 2);
    routing.routed({ layer: 0, tokens: 1, slabsPerToken: 2, slabs }, 0);
    routing.routed({ layer: 0, tokens: 2, slabsPerToken: 1, slabs, probabilities: new Float32Array(8).fill(1) }, 0);
    expect(routing.importance.flat().every((score) => score === 0)).toBe(true);
  });
});

describe('nearestPattern', () => {
  const patterns = [
    { task: 'math', importance: [[1, 0, 0, 0]] },
    { task: 'code', importance: [[0, 1, 1, 0]] },
  ];

  it('leaves out layers that the query says nothing of', () => {
    const two = patterns.map(({ task, importance }) => ({ task, importance: [...importance, [0, 0, 0, 1]] }));
    expect(
      nearestPattern(
        [
          [0, 1, 1, 0],
          [0, 0, 0, 0],
        ],
        two,
      ),
    ).toMatchObject({ pattern: { task: 'code' } });
    expect(
      nearestPattern(
        [
          [0, 1, 1, 0],
          [0, 0, 0, 0],
        ],
        two,
      )?.similarity,
    ).toBeCloseTo(1, 12);
  });

  it('is none where none is as near as wanted, and where the query says nothing at all', () => {
    expect(nearestPattern([[0, 0, 0, 1]], patterns, 0.1)).toBeUndefined();
    expect(nearestPattern([[0, 0, 0, 0]], patterns, 0.1)).toBeUndefined();
  });
});

describe('servedTasks', () => {
  const counted = (tcess: number[]) => ({
    documents: 1,
    tokens: 10,
    reasoningTokens: 0,
    layers: [{ frequency: tcess, tcess, reasoning: [0, 0, 0, 0] }],
  });
  const profile: SlabProfile = {
    schema: 'fleetgate-profile/1',
    model: { architecture: 'qwen3moe', router: 'a'.repeat(64), layers: 1, slabsPerLayer: 4, slabsPerToken: 2 },
    tasks: { math: counted([3, 1, 0, 0]), code: counted([0, 0, 1, 1]) },
  };
  const rules = { slabsPerToken: 2, groups: 1 };

  it('expects the slabs of the serving’s task, of all of them alike where it names none', () => {
    expect([...servedTasks(profile, rules, { task: 'math' }).expected]).toEqual([1.5, 0.5, 0, 0]);
    expect([...servedTasks(profile, rules, undefined).expected]).toEqual([0.75, 0.25, 0.5, 0.5]);
  });

  it('keeps slabs only with a task mask, and refuses a task that is not there', () => {
    expect(servedTasks(profile, rules, {}).tasks.map(({ keep }) => keep)).toEqual([undefined, undefined]);
    expect(servedTasks(profile, rules, { taskMask: { keep: 2 } }).tasks.map(({ keep }) => keep)).toEqual([
      [[0, 1]],
      [[2, 3]],
    ]);
    expect(() => servedTasks(profile, rules, { task: 'law' })).toThrow(
      expect.objectContaining({ code: 'usage.invalid' }),
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { buildKey, filesOf } from '@fleetgate/shared/catalogue/serving';
import { variantId } from '@fleetgate/shared/ids';
import type { Desired, DesiredVariant } from '@fleetgate/shared/protocol/twin';

import { type LocalState, reconcile, type ResidentVariant, type Resources } from './reconcile.js';
import { isWanted, type Step, variantOf } from './steps.js';

const sha = (n: number): string => n.toString(16).padStart(64, '0');

function aVariant(n: number, overrides: Partial<DesiredVariant> = {}): DesiredVariant {
  const base = { purpose: 'serve', sha256: sha(n), sizeBytes: 100, contextTokens: 512, stop: [] } as const;
  return { variantId: variantId(`v${n}`), ...base, stop: [], ...overrides };
}

function aDesired(variants: readonly DesiredVariant[], state: Desired['state'] = 'active'): Desired {
  return {
    v: 1,
    generation: 1,
    planId: null,
    state,
    variants: [...variants],
    telemetry: { sampleMs: 1000, batchMs: 5000 },
  };
}

/** A way of serving with these adapters, 10 bytes each. */
function laidOver(adapters: readonly number[]): Pick<DesiredVariant, 'serving'> {
  if (adapters.length === 0) return {};
  return { serving: { adapters: adapters.map((n) => ({ sha256: sha(100 + n), sizeBytes: 10, scale: 1 })) } };
}

interface Mutable {
  stored: Map<string, { sizeBytes: number; state: 'verified' | 'unverified' }>;
  resident: Map<ReturnType<typeof variantId>, ResidentVariant>;
  measured: Set<string>;
}

const empty = (): Mutable => ({ stored: new Map(), resident: new Map(), measured: new Set() });
const asLocal = (state: Mutable): LocalState => ({ ...state, held: new Set(), stuck: new Set() });

const RESOURCES: Resources = {
  memoryBudgetBytes: 1000,
  slots: 4,
  freeDiskBytes: undefined,
  engineReady: true,
  needsArtefacts: true,
  memoryOf: () => 100,
};

function apply(step: Step, state: Mutable, resources: Resources): void {
  switch (step.kind) {
    case 'fetch':
    case 'verify':
      state.stored.set(step.file.sha256, { sizeBytes: step.file.sizeBytes, state: 'verified' });
      return;
    case 'evict':
      state.stored.delete(step.sha256);
      return;
    case 'load': {
      for (const { sha256 } of filesOf(step.variant)) expect(state.stored.get(sha256)?.state).toBe('verified');
      state.resident.set(step.variant.variantId, { ...step.variant, memoryBytes: resources.memoryOf(step.variant) });
      return;
    }
    case 'measure':
      expect(state.resident.get(step.variant.variantId)?.sha256).toBe(step.variant.sha256);
      state.measured.add(buildKey(step.variant));
      return;
    case 'unload':
      state.resident.delete(step.variantId);
  }
}

const kinds = (steps: readonly Step[]): string[] => steps.map((step) => `${step.kind} ${variantOf(step) ?? 'bytes'}`);

describe('reconcile', () => {
  it('fetches and loads what is to be served', () => {
    expect(kinds(reconcile(aDesired([aVariant(1)]), asLocal(empty()), RESOURCES).steps)).toEqual([
      'fetch v1',
      'load v1',
    ]);
  });

  it('verifies a file that it found on disk', () => {
    const state = empty();
    state.stored.set(sha(1), { sizeBytes: 100, state: 'unverified' });
    expect(kinds(reconcile(aDesired([aVariant(1)]), asLocal(state), RESOURCES).steps)).toEqual([
      'verify v1',
      'load v1',
    ]);
  });

  it('lets the old one serve until the new one is on disk, then unloads before it loads', () => {
    const state = empty();
    state.resident.set(variantId('v9'), { sha256: sha(9), contextTokens: 512, memoryBytes: 950 });
    const { steps } = reconcile(aDesired([aVariant(1)]), asLocal(state), RESOURCES);
    expect(kinds(steps)).toEqual(['fetch v1', 'unload v9', 'load v1']);
  });

  it('measures one after the other and keeps none of them', () => {
    const variants = [aVariant(1, { purpose: 'measure' }), aVariant(2, { purpose: 'measure' })];
    expect(kinds(reconcile(aDesired(variants), asLocal(empty()), RESOURCES).steps)).toEqual([
      'fetch v1',
      'load v1',
      'measure v1',
      'unload v1',
      'fetch v2',
      'load v2',
      'measure v2',
      'unload v2',
    ]);
  });

  it('unloads a serving variant for a measurement that does not fit beside it, and loads it again', () => {
    const state = empty();
    const serving = aVariant(1);
    state.stored.set(sha(1), { sizeBytes: 100, state: 'verified' });
    state.resident.set(serving.variantId, { ...serving, memoryBytes: 100 });
    const variants = [serving, aVariant(2, { purpose: 'measure' })];
    const { steps } = reconcile(aDesired(variants), asLocal(state), { ...RESOURCES, slots: 1 });
    expect(kinds(steps)).toEqual(['fetch v2', 'unload v1', 'load v2', 'measure v2', 'unload v2', 'load v1']);
  });

  it('replaces a build and a context that changed', () => {
    const state = empty();
    state.stored.set(sha(1), { sizeBytes: 100, state: 'verified' });
    state.resident.set(variantId('v1'), { sha256: sha(1), contextTokens: 256, memoryBytes: 100 });
    expect(kinds(reconcile(aDesired([aVariant(1)]), asLocal(state), RESOURCES).steps)).toEqual([
      'unload v1',
      'load v1',
    ]);
  });

  it('evicts unwanted artefacts only for room, the largest first', () => {
    const state = empty();
    state.stored.set(sha(8), { sizeBytes: 30, state: 'verified' });
    state.stored.set(sha(9), { sizeBytes: 80, state: 'verified' });
    const steps = (freeDiskBytes: number) =>
      reconcile(aDesired([aVariant(1)]), asLocal(state), { ...RESOURCES, freeDiskBytes }).steps;
    expect(kinds(steps(100))).toEqual(['fetch v1', 'load v1']);
    expect(steps(20)[0]).toEqual({ kind: 'evict', sha256: sha(9), sizeBytes: 80 });
    expect(kinds(steps(20))).toEqual(['evict bytes', 'fetch v1', 'load v1']);
    expect(kinds(steps(0))).toEqual(['evict bytes', 'evict bytes', 'fetch v1', 'load v1']);
  });

  it('fetches adapters once, beside the file, and evicts none that is wanted', () => {
    const poet = aVariant(1, laidOver([1, 2]));
    const other = aVariant(2, { sha256: sha(1), ...laidOver([2]) });
    const state = empty();
    const { steps } = reconcile(aDesired([poet, other]), asLocal(state), RESOURCES);
    const files = steps.map((step) => (step.kind === 'fetch' ? step.file.sha256 : step.kind));
    expect(files).toEqual([sha(1), sha(101), sha(102), 'load', 'load']);
    for (const n of [101, 102, 103]) state.stored.set(sha(n), { sizeBytes: 10, state: 'unverified' });
    const full = reconcile(aDesired([poet]), asLocal(state), { ...RESOURCES, freeDiskBytes: 0 });
    expect(full.steps.map((step) => (step.kind === 'evict' ? step.sha256 : step.kind))).toEqual([
      sha(103),
      'fetch',
      'verify',
      'verify',
      'load',
    ]);
  });

  it('goes on with a file while any build that is wanted has it', () => {
    const poet = aVariant(1, laidOver([1]));
    const [, step] = reconcile(aDesired([poet]), asLocal(empty()), RESOURCES).steps;
    expect(step).toMatchObject({ kind: 'fetch', file: { sha256: sha(101) } });
    if (step === undefined) return;
    expect(isWanted(step, aDesired([aVariant(1, laidOver([2, 1]))]))).toBe(true);
    expect(isWanted(step, aDesired([aVariant(1, laidOver([2]))]))).toBe(false);
  });

  it('loads a variant again when its adapters changed', () => {
    const state = empty();
    for (const n of [1, 101, 102]) state.stored.set(sha(n), { sizeBytes: 100, state: 'verified' });
    state.resident.set(variantId('v1'), { ...aVariant(1, laidOver([1])), memoryBytes: 100 });
    const { steps } = reconcile(aDesired([aVariant(1, laidOver([2]))]), asLocal(state), RESOURCES);
    expect(kinds(steps)).toEqual(['unload v1', 'load v1']);
  });

  it('says which variants do not fit, and why', () => {
    const memoryOf = (variant: DesiredVariant) => (variant.variantId === 'v2' ? 950 : 100);
    const resources = { ...RESOURCES, memoryOf, slots: 2 };
    const { steps, shortfalls } = reconcile(
      aDesired([aVariant(1), aVariant(2), aVariant(3), aVariant(4)]),
      asLocal(empty()),
      resources,
    );
    expect(kinds(steps)).toEqual(['fetch v1', 'load v1', 'fetch v3', 'load v3']);
    expect(shortfalls).toEqual([
      { variantId: 'v2', resource: 'memory', requested: 950, used: 100, capacity: 1000 },
      { variantId: 'v4', resource: 'slots', requested: 1, used: 2, capacity: 2 },
    ]);
  });

  it('only fetches while the engine restarts', () => {
    const { steps } = reconcile(aDesired([aVariant(1)]), asLocal(empty()), { ...RESOURCES, engineReady: false });
    expect(kinds(steps)).toEqual(['fetch v1']);
  });

  it('asks nothing of the disk for an engine that keeps its models elsewhere', () => {
    const { steps } = reconcile(aDesired([aVariant(1)]), asLocal(empty()), { ...RESOURCES, needsArtefacts: false });
    expect(kinds(steps)).toEqual(['load v1']);
  });

  it('leaves a variant that failed alone, and one that cannot be unloaded', () => {
    const state = empty();
    state.resident.set(variantId('v9'), { sha256: sha(9), contextTokens: 512, memoryBytes: 100 });
    const local = { ...asLocal(state), held: new Set([variantId('v1')]), stuck: new Set([variantId('v9')]) };
    expect(reconcile(aDesired([aVariant(1)]), local, RESOURCES).steps).toEqual([]);
  });

  const variants = fc.uniqueArray(
    fc.record({
      n: fc.integer({ min: 0, max: 9 }),
      build: fc.integer({ min: 0, max: 1 }),
      adapters: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 2 }),
      purpose: fc.constantFrom('serve' as const, 'measure' as const),
      contextTokens: fc.constantFrom(256, 512),
    }),
    { maxLength: 8, selector: ({ n }) => n },
  );
  const worlds = fc.record({
    desired: variants,
    before: variants,
    measured: fc.array(fc.integer({ min: 0, max: 19 }), { maxLength: 5 }),
    state: fc.constantFrom('active' as const, 'active' as const, 'standby' as const),
    memory: fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 20, maxLength: 20 }),
    budget: fc.integer({ min: 0, max: 1500 }),
    slots: fc.integer({ min: 1, max: 4 }),
    free: fc.option(fc.integer({ min: 0, max: 500 }), { nil: undefined }),
  });

  it('reaches the desired state without ever exceeding memory or slots, and then has nothing to do', () => {
    fc.assert(
      fc.property(worlds, fc.constantFrom('whole list' as const, 'first step' as const), (world, pace) => {
        const toVariant = ({ n, build, adapters, purpose, contextTokens }: (typeof world.desired)[number]) =>
          aVariant(n, { sha256: sha(n + 10 * build), purpose, contextTokens, ...laidOver(adapters) });
        const memoryOf = (variant: DesiredVariant) => world.memory[Number.parseInt(variant.sha256, 16)] ?? 0;
        const { budget: memoryBudgetBytes, slots, free } = world;
        const resources: Resources = { ...RESOURCES, memoryBudgetBytes, slots, memoryOf, freeDiskBytes: free };
        const state = empty();
        const used = () => [...state.resident.values()].reduce((total, resident) => total + resident.memoryBytes, 0);
        for (const n of world.measured) state.measured.add(sha(n));
        for (const variant of world.before.map(toVariant)) {
          for (const { sha256, sizeBytes } of filesOf(variant)) {
            state.stored.set(sha256, { sizeBytes, state: 'unverified' });
          }
          const memoryBytes = memoryOf(variant);
          const fits = state.resident.size < slots && used() + memoryBytes <= memoryBudgetBytes;
          if (fits) state.resident.set(variant.variantId, { ...variant, memoryBytes });
        }
        const desired = aDesired(world.desired.map(toVariant), world.state);
        const wantedFiles = desired.variants.flatMap((variant) => filesOf(variant).map(({ sha256 }) => sha256));
        let rounds = 0;
        let answer = reconcile(desired, asLocal(state), resources);
        while (answer.steps.length > 0) {
          for (const step of pace === 'whole list' ? answer.steps : answer.steps.slice(0, 1)) {
            if (step.kind === 'evict') expect(wantedFiles).not.toContain(step.sha256);
            apply(step, state, resources);
            expect(used()).toBeLessThanOrEqual(memoryBudgetBytes);
            expect(state.resident.size).toBeLessThanOrEqual(slots);
          }
          expect(++rounds).toBeLessThan(pace === 'whole list' ? 2 : 100);
          answer = reconcile(desired, asLocal(state), resources);
        }
        const short = new Set(answer.shortfalls.map((shortfall) => shortfall.variantId));
        const wanted = desired.state === 'standby' ? [] : desired.variants.filter((v) => !short.has(v.variantId));
        const serving = wanted.filter((variant) => variant.purpose === 'serve');
        expect([...state.resident.keys()].sort()).toEqual(serving.map((variant) => variant.variantId).sort());
        for (const variant of serving) {
          expect(state.resident.get(variant.variantId)).toMatchObject({
            sha256: variant.sha256,
            contextTokens: variant.contextTokens,
            ...(variant.serving === undefined ? {} : { serving: variant.serving }),
          });
        }
        for (const variant of wanted) {
          if (variant.purpose === 'measure') expect(state.measured.has(buildKey(variant))).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

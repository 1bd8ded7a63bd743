import { describe, expect, it } from 'vitest';

import type { Projection, SlabLayout } from '../gguf/slab-layout.js';
import type { GgmlTensors } from '../native/ggml-tensors.js';
import type { SlabResidency } from '../residency/residency.js';
import { LateSlabs } from './late-slabs.js';

/** A node of a graph: its name, and what it is computed from. */
type Node = readonly [name: string, weights?: string];

const GRAPH: readonly Node[] = [
  ['weights'],
  ['gate', 'gate.weight'],
  ['up', 'up.weight'],
  ['swiglu'],
  ['down', 'down.weight'],
  ['out'],
];

function layoutOf(projections: readonly Projection[]): SlabLayout {
  const tensors = projections.map((projection) => ({ name: `${projection}.weight`, projection, offset: 0, stride: 1 }));
  return { layers: [{ layer: 0, tensors }] } as unknown as SlabLayout;
}

/** Runs graphs of one layer as llama.cpp does, with slabs of which the last projection is always still being read. */
class Layer {
  readonly #nodes: Node[] = [];
  readonly late: LateSlabs;
  readonly events: string[] = [];
  readonly #residency: SlabResidency;

  constructor(projections: readonly Projection[] = ['gate', 'up', 'down']) {
    const tensors = { sourceName: (node: number) => this.#nodes[node]?.[1] } as unknown as GgmlTensors;
    this.late = new LateSlabs(tensors, layoutOf(projections));
    this.#residency = {
      isAwaiting: true,
      await: () => this.events.push('await'),
    } as unknown as SlabResidency;
  }

  run(graph: readonly Node[]): readonly string[] {
    this.#nodes.splice(0, this.#nodes.length, ...graph);
    this.events.length = 0;
    this.late.begin();
    const later = this.late.enter(0);
    this.events.push(`later ${later ?? 'nothing'}`);
    for (const [i, [name]] of graph.entries()) {
      const stops = this.late.isWatching && this.late.asked(i, name, this.#residency);
      this.events.push(name);
      if (stops) this.late.stopped(this.#residency);
    }
    this.late.end();
    return [...this.events];
  }
}

describe('LateSlabs', () => {
  it('waits for all the first time, then for the last projection at the node before it', () => {
    const layer = new Layer();
    const names = GRAPH.map(([name]) => name);
    expect(layer.run(GRAPH)).toEqual(['later nothing', ...names]);
    for (const _ of [1, 2]) {
      expect(layer.run(GRAPH)).toEqual(['later down', ...names.slice(0, 4), 'await', ...names.slice(4)]);
    }
    expect(layer.late.isWatching).toBe(false);
  });

  it('waits before a node that uses it in a graph that has changed', () => {
    const layer = new Layer();
    layer.run(GRAPH);
    const changed: readonly Node[] = [
      ['gate', 'gate.weight'],
      ['up', 'up.weight'],
      ['node_7', 'down.weight'],
      ['down', 'lora.a'],
    ];
    expect(layer.run(changed)).toEqual(['later down', 'gate', 'up', 'await', 'node_7', 'down']);
  });

  it('calls an evaluation void whose last projection nobody waited for, and leaves nothing from then on', () => {
    const layer = new Layer();
    layer.run(GRAPH);
    const failure = { code: 'internal.invariant', retryable: true };
    expect(() => layer.run([['other']])).toThrow(expect.objectContaining(failure));
    expect(layer.run(GRAPH)[0]).toBe('later nothing');
  });

  it('leaves nothing where the graph does not show what uses the weights, or one tensor has them all', () => {
    const hidden = new Layer();
    hidden.run([['gate', 'gate.weight'], ['out']]);
    expect(hidden.run(GRAPH)[0]).toBe('later nothing');
    const single = new Layer(['gate_up']);
    single.run([['gate_up', 'gate_up.weight']]);
    expect(single.run([['gate_up', 'gate_up.weight']])[0]).toBe('later nothing');
  });
});

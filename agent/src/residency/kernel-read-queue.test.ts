import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { AsyncReads } from '../native/linux-aio.js';
import { KernelReadQueue } from './kernel-read-queue.js';
import { CUT_OFF } from './read-queue.js';

const [EINTR, EIO, EAGAIN] = [4, 5, 11];
const SLOTS = 8;
const BYTES = 4096;

/** What the kernel does next: refuses for now, refuses one for good, takes some, ends some. */
type Turn =
  | { readonly kind: 'busy' | 'interrupted' | 'refuse' }
  | { readonly kind: 'take'; readonly count: number }
  | { readonly kind: 'end'; readonly which: number; readonly result: number };

const turns = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom('busy' as const, 'interrupted' as const, 'refuse' as const) }),
    fc.record({ kind: fc.constant('take' as const), count: fc.integer({ min: 1, max: SLOTS }) }),
    fc.record({
      kind: fc.constant('end' as const),
      which: fc.nat(SLOTS - 1),
      result: fc.constantFrom(BYTES, BYTES / 2, 0, -EIO),
    }),
  ),
  { maxLength: 60 },
);

class ScriptedReads implements AsyncReads {
  readonly slots = SLOTS;
  readonly underWay: number[] = [];
  /** By slot, what the queue should tell of it; an entry leaves when it is told. */
  readonly expected = new Map<number, number>();
  readonly waits: number[] = [];
  isClosed = false;
  #turn: Turn = { kind: 'take', count: SLOTS };

  play(turn: Turn): void {
    this.#turn = turn;
  }

  prepare(slot: number): void {
    if (this.underWay.includes(slot)) throw new Error(`slot ${slot} is being read`);
  }

  submit(slots: readonly number[]): number {
    if (this.#turn.kind === 'busy') return -EAGAIN;
    if (this.#turn.kind === 'interrupted') return -EINTR;
    if (this.#turn.kind === 'refuse') {
      this.expected.set(slots[0] ?? 0, -EIO);
      this.#turn = { kind: 'busy' };
      return -EIO;
    }
    const taken = slots.slice(0, this.#turn.kind === 'take' ? this.#turn.count : SLOTS);
    this.underWay.push(...taken);
    return taken.length;
  }

  collect(ms: number, onDone: (slot: number, result: number) => void): void {
    this.waits.push(ms);
    if (this.#turn.kind !== 'end') return;
    const [slot] = this.underWay.splice(this.#turn.which, 1);
    if (slot === undefined) return;
    const { result } = this.#turn;
    this.expected.set(slot, result >= 0 && result < BYTES ? CUT_OFF : result);
    this.#turn = { kind: 'busy' };
    onDone(slot, result);
  }

  close(): void {
    this.isClosed = true;
  }
}

describe('KernelReadQueue', () => {
  it('tells of every read once and as it ended, whatever the kernel takes, refuses and ends in which order', () => {
    fc.assert(
      fc.property(turns, (script) => {
        const reads = new ScriptedReads();
        const queue = new KernelReadQueue(reads, 3);
        const pending = new Set<number>();
        const step = (turn: Turn): void => {
          reads.play(turn);
          queue.collect((slot, result) => {
            expect(pending.delete(slot)).toBe(true);
            expect(result).toBe(reads.expected.get(slot));
            reads.expected.delete(slot);
          });
          expect(queue.isAtWork).toBe(reads.underWay.length > 0);
        };
        for (const turn of script) {
          if (!queue.isFull) {
            const slot = queue.put({ address: 0, bytes: BYTES, offset: 0 });
            expect(pending.has(slot)).toBe(false);
            pending.add(slot);
          }
          expect(queue.isFull).toBe(pending.size === SLOTS);
          reads.play(turn);
          queue.publish();
          step(turn);
        }
        for (let i = 0; i <= 2 * SLOTS && pending.size > 0; i++) {
          step({ kind: 'take', count: SLOTS });
          step({ kind: 'end', which: 0, result: BYTES });
        }
        expect([pending.size, queue.isFull, queue.isAtWork]).toEqual([0, false, false]);
      }),
    );
  });

  it('waits for slow storage only while something is under way and nothing new has ended', () => {
    const reads = new ScriptedReads();
    const queue = new KernelReadQueue(reads, 3);
    queue.wait(queue.done, 500);
    expect(reads.waits).toEqual([]);
    queue.put({ address: 0, bytes: BYTES, offset: 0 });
    queue.publish();
    const seen = queue.done;
    queue.wait(seen, 500);
    expect([reads.waits, queue.done]).toEqual([[500], seen]);
    reads.play({ kind: 'end', which: 0, result: BYTES });
    queue.wait(seen, 500);
    expect(queue.done).toBe(seen + 1);
    queue.wait(seen, 500);
    expect(reads.waits).toEqual([500, 500]);
  });

  it('starts nothing after it is closed, and goes on until what is under way has ended', () => {
    const reads = new ScriptedReads();
    const queue = new KernelReadQueue(reads, 3);
    queue.put({ address: 0, bytes: BYTES, offset: 0 });
    queue.publish();
    queue.put({ address: 0, bytes: BYTES, offset: BYTES });
    queue.close();
    queue.publish();
    expect([queue.isAtWork, reads.underWay.length]).toEqual([true, 1]);
    reads.play({ kind: 'end', which: 0, result: BYTES });
    queue.wait(queue.done, 100);
    expect(queue.isAtWork).toBe(false);
    queue.end();
    expect(reads.isClosed).toBe(true);
  });
});

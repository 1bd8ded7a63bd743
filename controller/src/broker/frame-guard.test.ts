import { Duplex } from 'node:stream';

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { ManualClock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { DEFAULT_LIMITS } from './broker-limits.js';
import { FrameGuard, type GuardLimits } from './frame-guard.js';

const CONNECT = Buffer.from([0x10, 3, 1, 2, 3]);
const PING = Buffer.from([0xc0, 0]);
const publish = (size: number) => Buffer.concat([Buffer.from([0x30, size]), Buffer.alloc(size, 0x61)]);

/** A socket whose far end is this test: `send` comes in, `sent` went out; it takes nothing while `stalled`. */
class FarEnd extends Duplex {
  readonly sent: Buffer[] = [];
  stalled = false;
  #release: (() => void) | undefined;

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.sent.push(chunk);
    if (this.stalled) this.#release = done;
    else done();
  }

  send(chunk: Buffer): void {
    this.push(chunk);
  }

  takeOne(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function guarded(limits: Partial<GuardLimits> = {}) {
  const socket = new FarEnd();
  const clock = new ManualClock();
  const cuts: string[] = [];
  const all = { ...DEFAULT_LIMITS.guard, ...limits };
  const guard = new FrameGuard({ socket, limits: all, clock, onCut: (reason) => cuts.push(reason) });
  const received: Buffer[] = [];
  guard.on('data', (chunk: Buffer) => received.push(chunk));
  return { socket, clock, cuts, guard, bytes: () => Buffer.concat(received), admit: () => guard.admit(all) };
}

describe('frame guard', () => {
  test('passes the CONNECT, holds the rest until it is admitted, and passes all of it', async () => {
    const { socket, bytes, admit } = guarded();
    socket.send(Buffer.concat([CONNECT, PING]));
    socket.send(publish(9));
    await turn();
    expect(bytes()).toEqual(CONNECT);
    admit();
    await turn();
    expect(bytes()).toEqual(Buffer.concat([CONNECT, PING, publish(9)]));
  });

  test('cuts at a fault without passing it on, and says so once', async () => {
    const { socket, bytes, guard, cuts } = guarded();
    socket.send(Buffer.from('GET / HTTP/1.1'));
    socket.send(CONNECT);
    await turn();
    expect([cuts, guard.destroyed, socket.destroyed, bytes().length]).toEqual([['not-a-connect'], true, true, 0]);
    guard.cut('superseded');
    expect(cuts).toHaveLength(1);
  });

  test('however the bytes come, they pass unchanged', async () => {
    const stream = Buffer.concat([CONNECT, publish(100), PING, publish(0), publish(64)]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(stream.length), { maxLength: 12 }), fc.nat(4), async (cuts, admitAfter) => {
        const { socket, bytes, admit } = guarded();
        const ends = [...cuts.sort((a, b) => a - b), stream.length];
        let from = 0;
        for (const [index, end] of ends.entries()) {
          if (end > from) socket.send(stream.subarray(from, end));
          from = Math.max(from, end);
          if (index === admitAfter) admit();
          await turn();
        }
        admit();
        await turn();
        await turn();
        expect(bytes()).toEqual(stream);
      }),
      { numRuns: 100 },
    );
  });

  test('slows a sender above its rate, and cuts one far above it', async () => {
    const limits = { packets: { perSecond: 10, burst: 2 }, longestHold: milliseconds(1_000) };
    const { socket, clock, bytes, admit, cuts } = guarded(limits);
    socket.send(CONNECT);
    await turn();
    admit();
    socket.send(Buffer.concat([PING, PING, PING, PING]));
    await turn();
    socket.send(PING);
    await turn();
    expect(bytes().length).toBe(CONNECT.length + 8);
    clock.advance(200);
    await turn();
    await turn();
    expect(bytes().length).toBe(CONNECT.length + 10);
    clock.advance(100);
    socket.send(Buffer.concat(Array.from({ length: 50 }, () => PING)));
    await turn();
    await turn();
    expect(cuts).toEqual(['rate-exceeded']);
  });

  test('always takes what is written, until too much waits', async () => {
    const { socket, guard, cuts } = guarded({ outboundBytes: 1_000 });
    socket.stalled = true;
    for (let n = 0; n < 9; n += 1) {
      expect(guard.write(Buffer.alloc(100))).toBe(true);
      await turn();
    }
    expect(cuts).toEqual([]);
    guard.write(Buffer.alloc(500));
    await turn();
    expect(cuts).toEqual(['outbound-overflow']);
  });

  test('cuts a reader that has stopped, not one that is slow', async () => {
    const { socket, guard, clock, cuts } = guarded({ stall: milliseconds(1_000) });
    socket.stalled = true;
    for (let n = 0; n < 3; n += 1) {
      guard.write(Buffer.alloc(100));
      await turn();
    }
    clock.advance(900);
    socket.takeOne();
    await turn();
    clock.advance(200);
    expect(cuts).toEqual([]);
    clock.advance(1_000);
    expect(cuts).toEqual(['stalled']);
  });

  test('the end of the connection passes through', async () => {
    const { socket, guard, bytes, cuts } = guarded();
    const ended = new Promise<void>((resolve) => guard.once('close', () => resolve()));
    socket.send(CONNECT);
    socket.push(null);
    await ended;
    expect([bytes(), cuts, socket.destroyed]).toEqual([CONNECT, [], true]);
  });
});

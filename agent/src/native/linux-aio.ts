import type { Address } from './linux-libc.js';

/** A read that the kernel carries out by itself. */
export interface AsyncRead {
  readonly fd: number;
  readonly address: Address;
  readonly bytes: number;
  readonly offset: number;
}

/** The kernel's asynchronous reads (`io_submit`), for direct reads: buffered ones would block at the submission. */
export interface AsyncReads {
  /** Reads that can be under way at once. */
  readonly slots: number;
  /** Prepares a read in a slot that is free. */
  prepare(slot: number, read: AsyncRead): void;
  /** Starts reads that were prepared: how many of them were, from the first on, or below 0 the negated error number. */
  submit(slots: readonly number[]): number;
  /** Tells of reads that ended, waiting up to `ms` for the first: bytes read or the negated error number. */
  collect(ms: number, onDone: (slot: number, result: number) => void): void;
  /** Waits for what is under way, and ends. */
  close(): void;
}

interface Calls {
  readonly setup: number;
  readonly destroy: number;
  readonly submit: number;
  readonly getevents: number;
}

const GENERIC: Calls = { setup: 0, destroy: 1, submit: 2, getevents: 4 };
/** Of Linux, by architecture. */
const CALLS: Readonly<Record<string, Calls>> = {
  x64: { setup: 206, destroy: 207, getevents: 208, submit: 209 },
  arm64: GENERIC,
  riscv64: GENERIC,
  loong64: GENERIC,
};
const SLOTS = 256;
/** `struct iocb` and `struct io_event` of `linux/aio_abi.h`; all of these architectures are little-endian. */
const IOCB_BYTES = 64;
const IOCB = { data: 0, opcode: 16, fd: 20, address: 24, bytes: 32, offset: 40 } as const;
const EVENT_BYTES = 32;
const EVENT_RESULT = 16;

/** Undefined where the kernel (or what guards it) does not offer them. */
export async function openAsyncReads(): Promise<AsyncReads | undefined> {
  const calls = CALLS[process.arch];
  if (calls === undefined) return undefined;
  const { default: koffi } = await import('koffi');
  const syscall = koffi
    .load(null)
    .func('int64_t syscall(int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t)') as (...all: number[]) => number;
  const call = (number: number, ...values: number[]): number => {
    const [a = 0, b = 0, c = 0, d = 0, e = 0] = values;
    const result = syscall(number, a, b, c, d, e);
    return result < 0 ? -koffi.errno() : result;
  };
  const fixed = (length: number): { readonly at: Address; readonly view: DataView } => {
    const pointer: unknown = koffi.alloc('uint8_t', length);
    return { at: Number(koffi.address(pointer)), view: new DataView(koffi.view(pointer, length)) };
  };
  const blocks = fixed(SLOTS * IOCB_BYTES);
  const pointers = fixed(SLOTS * 8);
  const events = fixed(SLOTS * EVENT_BYTES);
  const timeout = fixed(16);
  const handle = fixed(8);
  handle.view.setBigUint64(0, 0n, true);
  if (call(calls.setup, SLOTS, handle.at) < 0) return undefined;
  const context = Number(handle.view.getBigUint64(0, true));
  return {
    slots: SLOTS,
    prepare: (slot, { fd, address, bytes, offset }) => {
      const at = slot * IOCB_BYTES;
      blocks.view.setBigUint64(at + IOCB.data, BigInt(slot), true);
      // Operation and priority 0: a plain read.
      blocks.view.setUint32(at + IOCB.opcode, 0, true);
      blocks.view.setUint32(at + IOCB.fd, fd, true);
      blocks.view.setBigUint64(at + IOCB.address, BigInt(address), true);
      blocks.view.setBigUint64(at + IOCB.bytes, BigInt(bytes), true);
      blocks.view.setBigInt64(at + IOCB.offset, BigInt(offset), true);
    },
    submit: (slots) => {
      for (const [i, slot] of slots.entries()) {
        pointers.view.setBigUint64(8 * i, BigInt(blocks.at + slot * IOCB_BYTES), true);
      }
      return call(calls.submit, context, slots.length, pointers.at);
    },
    collect: (ms, onDone) => {
      timeout.view.setBigInt64(0, BigInt(Math.floor(ms / 1000)), true);
      timeout.view.setBigInt64(8, BigInt(Math.floor((ms % 1000) * 1e6)), true);
      const count = call(calls.getevents, context, ms > 0 ? 1 : 0, SLOTS, events.at, timeout.at);
      for (let i = 0; i < count; i++) {
        const at = i * EVENT_BYTES;
        const result = Number(events.view.getBigInt64(at + EVENT_RESULT, true));
        onDone(Number(events.view.getBigUint64(at, true)), result);
      }
    },
    close: () => void call(calls.destroy, context),
  };
}

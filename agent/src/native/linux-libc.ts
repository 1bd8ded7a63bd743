import { constants } from 'node:fs';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

/** An address of this process: user space fits into a double. */
export type Address = number;

/** Memory and file calls of the C library, by their own names. All of them block. */
export interface Libc {
  readonly pageBytes: number;
  /** Address space that was free: `bytes` of it, not accessible. */
  reserve(bytes: number): Address;
  unmap(at: Address, bytes: number): void;
  /** Maps private memory of nobody over `[at, at + bytes)`, whatever was there; not readable until `protect` says so. */
  mapNothing(at: Address, bytes: number): void;
  /** Maps a file's bytes over `[at, at + bytes)`, readable only. */
  mapFile(at: Address, bytes: number, fd: number, offset: number): void;
  protect(at: Address, bytes: number, access: 'none' | 'read' | 'read-write'): void;
  /**
   * Moves the pages at `from` to `to`, over what was there; `from` stays, empty, with the access it had. False where the
   * kernel (before 5.7) cannot.
   */
  movePages(from: Address, to: Address, bytes: number): boolean;
  /** Gives pages back; memory of nobody reads as zeros afterwards. */
  drop(at: Address, bytes: number): void;
  /** Asks for pages of a mapped file to be read ahead; does not wait. False where the kernel does not do it. */
  willNeed(at: Address, bytes: number): boolean;
  /** Reads and maps pages of a mapped file, and waits. False where the kernel (before 5.14) does not know it. */
  populate(at: Address, bytes: number): boolean;
  /** Keeps small pages: with large ones a part cannot be given back. False where there are none anyway. */
  withoutHugePages(at: Address, bytes: number): boolean;
  /** How many pages of a mapping are in memory; undefined where the kernel does not tell. */
  residentPages(at: Address, bytes: number): number | undefined;
  /** Bytes read, 0 at the end of the file, or below 0 the negated error number. */
  read(fd: number, at: Address, bytes: number, offset: number): number;
  /** Forgets cached pages of a file, so that buffered reading does not fill the memory. */
  forgetCached(fd: number, offset: number, bytes: number): void;
  /** Copies bytes at an address of this process; one that is not readable ends the process. */
  copy(out: ArrayBufferView, from: Address, bytes: number): void;
}

const PROT = { none: 0, read: 1, 'read-write': 3 } as const;
const MAP_PRIVATE = 0x02;
const MAP_PRIVATE_FIXED = MAP_PRIVATE | 0x10;
const MAP_SHARED_FIXED = 0x01 | 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MREMAP_MAYMOVE_FIXED_DONTUNMAP = 1 | 2 | 4;
const MADV_WILLNEED = 3;
const MADV_DONTNEED = 4;
const MADV_NOHUGEPAGE = 15;
const MADV_POPULATE_READ = 22;
const FADV_DONTNEED = 4;
const SC_PAGESIZE = 30;
/** Bionic numbers `sysconf` in its own way. */
const SC_PAGESIZE_ANDROID = 39;
/** `mmap` takes 64-bit offsets, and the numbers above hold, on these. */
const ARCHITECTURES: ReadonlySet<string> = new Set(['x64', 'arm64', 'riscv64', 'loong64']);
const MOST_PAGE_BYTES = 65_536;

/** `O_DIRECT` differs by architecture; this is the running one's. Undefined where there is none. */
export const O_DIRECT: number | undefined = (constants as { readonly O_DIRECT?: number }).O_DIRECT;

let opened: Promise<Libc> | undefined;

/** Opened once a process or worker. Throws `engine.unavailable` where koffi is missing or the system is another. */
export function openLibc(): Promise<Libc> {
  return (opened ??= open().catch((error: unknown) => {
    opened = undefined;
    throw error;
  }));
}

async function open(): Promise<Libc> {
  if ((process.platform !== 'linux' && process.platform !== 'android') || !ARCHITECTURES.has(process.arch)) {
    throw unavailable(`memory calls are known for 64-bit Linux only, this is ${process.platform} ${process.arch}`);
  }
  const { default: koffi } = await import('koffi').catch((cause: unknown) => {
    throw unavailable(`koffi is not installed: ${messageOf(cause)}`);
  });
  const own = koffi.load(null);
  const mmap = own.func('int64_t mmap(uint64_t, size_t, int, int, int, int64_t)') as (...all: number[]) => number;
  const munmap = own.func('int munmap(uint64_t, size_t)') as (...all: number[]) => number;
  const mremap = own.func('int64_t mremap(uint64_t, size_t, size_t, int, uint64_t)') as (...all: number[]) => number;
  const mprotect = own.func('int mprotect(uint64_t, size_t, int)') as (...all: number[]) => number;
  const madvise = own.func('int madvise(uint64_t, size_t, int)') as (...all: number[]) => number;
  const mincore = own.func('int mincore(uint64_t, size_t, _Out_ void *)') as (
    a: number,
    n: number,
    v: Buffer,
  ) => number;
  const pread = own.func('int64_t pread(int, uint64_t, size_t, int64_t)') as (...all: number[]) => number;
  const fadvise = own.func('int posix_fadvise(int, int64_t, int64_t, int)') as (...all: number[]) => number;
  const memcpy = own.func('void memcpy(_Out_ void *, uint64_t, size_t)') as Libc['copy'];
  const sysconf = own.func('int64_t sysconf(int)') as (name: number) => number;
  const pageBytes = sysconf(process.platform === 'android' ? SC_PAGESIZE_ANDROID : SC_PAGESIZE);
  if (pageBytes < 4096 || pageBytes > MOST_PAGE_BYTES || pageBytes % 4096 !== 0) {
    throw unavailable(`pages of ${pageBytes} bytes are not known`);
  }
  const mapOver = (at: Address, bytes: number, access: number, flags: number, fd: number, offset: number): void => {
    if (mmap(at, bytes, access, flags, fd, offset) !== at) throw failed('mmap', at, bytes, koffi.errno());
  };
  let pages = Buffer.alloc(0);
  return {
    pageBytes,
    reserve: (bytes) => {
      const at = mmap(0, bytes, PROT.none, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (at < 0) throw failed('mmap', 0, bytes, koffi.errno());
      return at;
    },
    unmap: (at, bytes) => {
      if (munmap(at, bytes) !== 0) throw failed('munmap', at, bytes, koffi.errno());
    },
    mapNothing: (at, bytes) => mapOver(at, bytes, PROT.none, MAP_PRIVATE_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
    mapFile: (at, bytes, fd, offset) => mapOver(at, bytes, PROT.read, MAP_SHARED_FIXED, fd, offset),
    protect: (at, bytes, access) => {
      if (mprotect(at, bytes, PROT[access]) !== 0) throw failed('mprotect', at, bytes, koffi.errno());
    },
    movePages: (from, to, bytes) => mremap(from, bytes, bytes, MREMAP_MAYMOVE_FIXED_DONTUNMAP, to) === to,
    drop: (at, bytes) => {
      if (madvise(at, bytes, MADV_DONTNEED) !== 0) throw failed('madvise', at, bytes, koffi.errno());
    },
    willNeed: (at, bytes) => madvise(at, bytes, MADV_WILLNEED) === 0,
    populate: (at, bytes) => madvise(at, bytes, MADV_POPULATE_READ) === 0,
    withoutHugePages: (at, bytes) => madvise(at, bytes, MADV_NOHUGEPAGE) === 0,
    residentPages: (at, bytes) => {
      const count = Math.ceil(bytes / pageBytes);
      if (pages.length < count) pages = Buffer.alloc(count);
      if (mincore(at, bytes, pages) !== 0) return undefined;
      let resident = 0;
      for (let i = 0; i < count; i++) resident += (pages[i] ?? 0) & 1;
      return resident;
    },
    read: (fd, at, bytes, offset) => {
      const read = pread(fd, at, bytes, offset);
      return read < 0 ? -koffi.errno() : read;
    },
    forgetCached: (fd, offset, bytes) => void fadvise(fd, offset, bytes, FADV_DONTNEED),
    copy: memcpy,
  };
}

function failed(call: string, at: Address, bytes: number, errno: number): FleetError {
  return new FleetError('engine.out-of-memory', `${call} of ${bytes} bytes at 0x${at.toString(16)}: error ${errno}`, {
    hint: 'the memory limit, or the number of mappings that a process may have (vm.max_map_count), may be too low',
    retryable: true,
  });
}

function unavailable(reason: string): FleetError {
  return new FleetError('engine.unavailable', reason, {
    hint: 'slabs are then left to the kernel (residency `none`)',
  });
}

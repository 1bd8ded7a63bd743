import { FleetError } from '../errors.js';

/** Thrown inside the parser when it needs bytes of the file that have not been read yet. */
export class NeedBytes {
  /** Length that the buffer must have for the parser to get on. */
  readonly length: number;

  constructor(length: number) {
    this.length = length;
  }
}

/**
 * Reads little-endian values from the start of a file of which only a part may be in memory.
 *
 * A read beyond the part in memory throws NeedBytes; one beyond the file's end throws `gguf.malformed`.
 */
export class Cursor {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #fileBytes: number;
  readonly #where: string;
  #position = 0;
  static readonly #text = new TextDecoder('utf-8', { fatal: false });

  constructor(bytes: Uint8Array, fileBytes: number, where: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fileBytes = fileBytes;
    this.#where = where;
  }

  get position(): number {
    return this.#position;
  }

  /** Bytes of the file after the position, whether in memory or not. */
  get left(): number {
    return this.#fileBytes - this.#position;
  }

  u8(what: string): number {
    return this.#view.getUint8(this.#take(1, what));
  }

  u16(what: string): number {
    return this.#view.getUint16(this.#take(2, what), true);
  }

  u32(what: string): number {
    return this.#view.getUint32(this.#take(4, what), true);
  }

  i8(what: string): number {
    return this.#view.getInt8(this.#take(1, what));
  }

  i16(what: string): number {
    return this.#view.getInt16(this.#take(2, what), true);
  }

  i32(what: string): number {
    return this.#view.getInt32(this.#take(4, what), true);
  }

  f32(what: string): number {
    return this.#view.getFloat32(this.#take(4, what), true);
  }

  f64(what: string): number {
    return this.#view.getFloat64(this.#take(8, what), true);
  }

  /** A number when it is exact, else a bigint. */
  u64(what: string): number | bigint {
    return narrow(this.#view.getBigUint64(this.#take(8, what), true));
  }

  i64(what: string): number | bigint {
    return narrow(this.#view.getBigInt64(this.#take(8, what), true));
  }

  /** An unsigned 64-bit count of things that take at least `bytesEach` bytes each, all of which must fit in the file. */
  count(what: string, bytesEach: number): number {
    const at = this.#position;
    const value = this.u64(what);
    const most = Math.floor(this.left / bytesEach);
    if (typeof value === 'bigint' || value > most) {
      throw this.malformed(`${what} is ${value}, but at most ${most} fit in the rest of the file`, at);
    }
    return value;
  }

  text(what: string): string {
    const length = this.count(`length of ${what}`, 1);
    const start = this.#take(length, what);
    return Cursor.#text.decode(this.#bytes.subarray(start, start + length));
  }

  skip(length: number, what: string): void {
    this.#take(length, what);
  }

  malformed(problem: string, at = this.#position): FleetError {
    return new FleetError('gguf.malformed', `${this.#where}: at byte ${at}: ${problem}`, {
      hint: 'the file is damaged or incomplete: fetch it again and compare its sha256',
    });
  }

  #take(length: number, what: string): number {
    const start = this.#position;
    const end = start + length;
    if (end > this.#fileBytes) {
      throw this.malformed(`${what} needs ${length} bytes, but the file ends at byte ${this.#fileBytes}`);
    }
    if (end > this.#bytes.length) throw new NeedBytes(end);
    this.#position = end;
    return start;
  }
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

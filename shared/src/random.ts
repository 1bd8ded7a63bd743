import { randomFillSync, randomInt } from 'node:crypto';

/** The only source of chance: decisions take one as an argument, so that a seed repeats them. */
export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** `length` characters of a-z, A-Z, 0-9, '-' and '_', for ids and secrets. */
  token(length: number): string;
}

/** 43 characters of 64 are 258 bits: as good as 32 random bytes. */
export const SECRET_CHARACTERS = 43;

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

export const systemRandom: Random = {
  uniform: () => randomInt(2 ** 47) / 2 ** 47,
  token: (length) => {
    let token = '';
    while (token.length < length) token += ALPHABET.charAt(nextByte() & 63);
    return token;
  },
};

/** Bytes from the system, fetched many at once: asking for the few of a name costs as much. Each is given out once. */
const pool = new Uint8Array(4096);
let used = pool.length;

function nextByte(): number {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const byte = pool[used] ?? 0;
  pool[used++] = 0;
  return byte;
}

/** Mulberry32 (T. Ettinger): small, fast, good enough for simulation and tests; never for secrets. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  token(length: number): string {
    return Array.from({ length }, () => ALPHABET[Math.floor(this.uniform() * 64)]).join('');
  }
}

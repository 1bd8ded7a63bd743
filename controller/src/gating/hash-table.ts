const EMPTY = -1;

/** Finds the position of a 32-bit key in a list; open addressing, since a Map costs several times as much per look-up. */
export class HashTable {
  /** Slot by slot: key, position. Side by side, so that a look-up touches one line of the cache. */
  readonly #slots: Int32Array;
  readonly #mask: number;

  /** `keys` are distinct and spread over their low bits. */
  constructor(keys: Int32Array) {
    let size = 16;
    while (size < 2 * keys.length) size *= 2;
    this.#mask = size - 1;
    this.#slots = new Int32Array(2 * size).fill(EMPTY);
    keys.forEach((key, position) => {
      let slot = key & this.#mask;
      while (this.#slots[2 * slot + 1] !== EMPTY) slot = (slot + 1) & this.#mask;
      this.#slots[2 * slot] = key;
      this.#slots[2 * slot + 1] = position;
    });
  }

  /** -1 when the key is not in the list. */
  find(key: number): number {
    const [slots, mask] = [this.#slots, this.#mask];
    let slot = key & mask;
    for (;;) {
      const position = slots[2 * slot + 1] ?? EMPTY;
      if (position === EMPTY || slots[2 * slot] === key) return position;
      slot = (slot + 1) & mask;
    }
  }
}

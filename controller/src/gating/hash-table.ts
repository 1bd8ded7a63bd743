const EMPTY = -1;

/** Finds the position of a 32-bit key in a list; open addressing, since a Map costs several times as much per look-up. */
export class HashTable {
  readonly #keys: Int32Array;
  readonly #positions: Int32Array;
  readonly #mask: number;

  /** `keys` are distinct and spread over their low bits. */
  constructor(keys: Int32Array) {
    let size = 16;
    while (size < 2.5 * keys.length) size *= 2;
    this.#mask = size - 1;
    this.#keys = new Int32Array(size);
    this.#positions = new Int32Array(size).fill(EMPTY);
    keys.forEach((key, position) => {
      let slot = key & this.#mask;
      while (this.#positions[slot] !== EMPTY) slot = (slot + 1) & this.#mask;
      this.#keys[slot] = key;
      this.#positions[slot] = position;
    });
  }

  /** -1 when the key is not in the list. */
  find(key: number): number {
    const [keys, positions, mask] = [this.#keys, this.#positions, this.#mask];
    let slot = key & mask;
    for (;;) {
      const position = positions[slot] ?? EMPTY;
      if (position === EMPTY || keys[slot] === key) return position;
      slot = (slot + 1) & mask;
    }
  }
}

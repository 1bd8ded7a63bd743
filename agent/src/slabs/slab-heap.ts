/**
 * A binary min-heap of ids by a score that lies elsewhere, in which an id can be found: add and remove are O(log n). Equal scores go to the lower id, so that what comes out does not depend on the order of what went in.
 */
export class SlabHeap {
  readonly #scores: Float64Array;
  readonly #heap: number[] = [];
  /** Place in the heap by id, counted from `first`; -1 where it is not in it. */
  readonly #places: Int32Array;
  readonly #first: number;

  /** For ids `first` to `first + count - 1`. */
  constructor(scores: Float64Array, first: number, count: number) {
    this.#scores = scores;
    this.#first = first;
    this.#places = new Int32Array(count).fill(-1);
  }

  /** The id of the lowest score; undefined when empty. */
  get lowest(): number | undefined {
    return this.#heap[0];
  }

  add(id: number): void {
    if (this.#placeOf(id) >= 0) return;
    this.#heap.push(id);
    this.#up(this.#heap.length - 1);
  }

  remove(id: number): void {
    const place = this.#placeOf(id);
    if (place < 0) return;
    const last = this.#heap.pop() ?? id;
    this.#places[id - this.#first] = -1;
    if (last === id) return;
    this.#put(place, last);
    this.#replace(place);
  }

  /** To be called when scores have changed, before anything else is asked; O(n). */
  rescored(): void {
    for (let place = (this.#heap.length >> 1) - 1; place >= 0; place--) this.#down(place);
  }

  #placeOf(id: number): number {
    return this.#places[id - this.#first] ?? -1;
  }

  #replace(place: number): void {
    const id = this.#heap[place] ?? 0;
    this.#up(place);
    this.#down(this.#placeOf(id));
  }

  #up(from: number): void {
    const id = this.#heap[from] ?? 0;
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = this.#heap[parent] ?? 0;
      if (!this.#before(id, above)) break;
      this.#put(place, above);
      place = parent;
    }
    this.#put(place, id);
  }

  #down(from: number): void {
    const id = this.#heap[from] ?? 0;
    let place = from;
    for (;;) {
      const left = 2 * place + 1;
      if (left >= this.#heap.length) break;
      const right = left + 1;
      const [l, r] = [this.#heap[left] ?? 0, this.#heap[right]];
      const child = r !== undefined && this.#before(r, l) ? right : left;
      const below = this.#heap[child] ?? 0;
      if (!this.#before(below, id)) break;
      this.#put(place, below);
      place = child;
    }
    this.#put(place, id);
  }

  #put(place: number, id: number): void {
    this.#heap[place] = id;
    this.#places[id - this.#first] = place;
  }

  #before(a: number, b: number): boolean {
    const difference = (this.#scores[a] ?? 0) - (this.#scores[b] ?? 0);
    return difference < 0 || (difference === 0 && a < b);
  }
}

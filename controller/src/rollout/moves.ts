/** Changes of devices within the last minute, so that no more than some are changed at once. */
export class MovesPerMinute {
  readonly #most: number;
  #times: readonly number[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  left(nowMs: number): number {
    this.#times = this.#times.filter((at) => at > nowMs - 60_000 && at <= nowMs);
    return Math.max(0, this.#most - this.#times.length);
  }

  count(moves: number, nowMs: number): void {
    this.#times = [...this.#times, ...Array.from({ length: moves }, () => nowMs)];
  }
}

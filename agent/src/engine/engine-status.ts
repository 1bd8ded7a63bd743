import type { EngineState } from './engine.js';

/** The present state of an engine, and those who want to know when it changes. Begins as ready. */
export class EngineStatus {
  readonly #listeners = new Set<(state: EngineState) => void>();
  readonly #waiting = new Set<() => void>();
  #state: EngineState = { state: 'ready' };
  #closed = false;

  get current(): EngineState {
    return this.#state;
  }

  /** Returns the function that ends the listening. */
  onChange(listener: (state: EngineState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tells the listeners where the state or its reason is another than before; returns whether it did. */
  set(state: EngineState): boolean {
    const isNews = !this.#closed && !isSame(state, this.#state);
    this.#state = state;
    if (!isNews) return false;
    this.#wake();
    for (const listener of this.#listeners) listener(state);
    return true;
  }

  /** Resolves with the next change, at the end of all changes, or when `signal` aborts. */
  async nextChange(signal: AbortSignal): Promise<void> {
    if (this.#closed || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  /** The engine was closed: nobody is told anything any more, and nobody waits. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}

function isSame(a: EngineState, b: EngineState): boolean {
  const reasonOf = (state: EngineState): string => (state.state === 'ready' ? '' : state.reason);
  return a.state === b.state && reasonOf(a) === reasonOf(b);
}

interface Level<T> {
  message: T | undefined;
  readonly below: Map<string, Level<T>>;
}

/**
 * Retained messages by topic, found by filter in as many steps as the filter has levels and matches. A scan of all of
 * them at each subscription, as of a list, lets a fleet of 10,000 that connects at once cost the broker 10^9 comparisons.
 */
export class RetainedMessages<T> {
  readonly #root: Level<T> = { message: undefined, below: new Map() };

  set(topic: string, message: T): void {
    let at = this.#root;
    for (const name of topic.split('/')) {
      const next = at.below.get(name) ?? { message: undefined, below: new Map() };
      at.below.set(name, next);
      at = next;
    }
    at.message = message;
  }

  delete(topic: string): void {
    const path: { readonly parent: Level<T>; readonly name: string; readonly level: Level<T> }[] = [];
    let at = this.#root;
    for (const name of topic.split('/')) {
      const level = at.below.get(name);
      if (level === undefined) return;
      path.push({ parent: at, name, level });
      at = level;
    }
    at.message = undefined;
    for (const { parent, name, level } of path.toReversed()) {
      if (level.message !== undefined || level.below.size > 0) return;
      parent.below.delete(name);
    }
  }

  /** By the rules of MQTT 3.1.1, 4.7: `+` is one level; `#`, at the end, is any number of them, its parent included. */
  matching(filter: string): readonly T[] {
    const found: T[] = [];
    collect(this.#root, filter.split('/'), 0, found);
    return found;
  }
}

function collect<T>(level: Level<T>, filter: readonly string[], at: number, found: T[]): void {
  const name = filter[at];
  if (name === '#') {
    collectAll(level, found);
  } else if (name === undefined) {
    if (level.message !== undefined) found.push(level.message);
  } else if (name === '+') {
    for (const below of level.below.values()) collect(below, filter, at + 1, found);
  } else {
    const below = level.below.get(name);
    if (below !== undefined) collect(below, filter, at + 1, found);
  }
}

function collectAll<T>(level: Level<T>, found: T[]): void {
  if (level.message !== undefined) found.push(level.message);
  for (const below of level.below.values()) collectAll(below, found);
}

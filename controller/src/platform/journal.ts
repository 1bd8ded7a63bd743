/**
 * What a ledger keeps of records until its database has them.
 *
 * Nothing is waited for: when `append` returns, the record outlives this process, however that ends.
 */
export interface Journal {
  /** Keeps the JSON of a record. Never throws: no answer to a client depends on a disk. */
  append(record: string): void;
  /** The database has every record that was appended, but for these. Never throws. */
  keepOnly(unwritten: Iterable<string>): void;
  /** Newest state of each record that an earlier process has left, as JSON. */
  readonly left: readonly string[];
  close(): void;
}

/** For ledgers that need not outlive their process. */
export const NO_JOURNAL: Journal = Object.freeze({
  append: () => {},
  keepOnly: () => {},
  left: [],
  close: () => {},
});

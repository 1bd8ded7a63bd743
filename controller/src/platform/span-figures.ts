export type SpanAttributes = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** What a span is part of. */
export type SpanParent =
  /** A span of the same list. */
  | { readonly kind: 'span'; readonly spanId: string }
  /** A span of another request here, told apart; undefined: it is sampled as its trace is. */
  | { readonly kind: 'request'; readonly spanId: string; readonly isSampled: boolean | undefined }
  /** A client's. */
  | { readonly kind: 'client'; readonly spanId: string; readonly isSampled: boolean };

/** A span that has ended. Ids in lower-case hexadecimal, 32 and 16 digits. */
export interface SpanFigures {
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined: it begins its trace. */
  readonly parent: SpanParent | undefined;
  readonly name: string;
  readonly kind: 'server' | 'client' | 'internal';
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: SpanAttributes;
  readonly events: readonly { readonly name: string; readonly atMs: number }[];
  /** What went wrong, where something did. */
  readonly error: string | undefined;
}

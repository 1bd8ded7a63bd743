/** A JSON schema, as far as `schema-fault.ts` has looked at it. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** A function of the client that a model may ask for. */
export interface Tool {
  readonly name: string;
  readonly description?: string | undefined;
  /** Of an object: its arguments by name. */
  readonly parameters: JsonSchema;
}

/** Whether a model may answer with calls: it may, it has to, or it has to call this one. */
export type ToolChoice = 'auto' | 'required' | { readonly name: string };

/** The tools of one request; there is none where the client forbids calls. */
export interface ToolOffer {
  /** At least one; no two of one name. */
  readonly tools: readonly Tool[];
  readonly choice: ToolChoice;
  /** One answer may hold several calls. */
  readonly parallel: boolean;
}

/** What a model asks for. */
export interface ToolCall {
  readonly name: string;
  /** JSON of an object. */
  readonly arguments: string;
}

/** Calls in one answer; more are left out. */
export const MOST_CALLS = 16;

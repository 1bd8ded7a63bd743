/** Why a call to the controller did not do what was asked, for a person to read. */
export class ApiFailure extends Error {
  /** HTTP status; null when no answer came. */
  readonly status: number | null;
  readonly code: string | null;
  readonly hint: string | null;

  constructor(message: string, status: number | null, code: string | null = null, hint: string | null = null) {
    super(message);
    this.name = 'ApiFailure';
    this.status = status;
    this.code = code;
    this.hint = hint;
  }

  get needsKey(): boolean {
    return this.status === 401;
  }
}

/** Reads the error body `{error: {message, code, hint}}`; anything else still gives a readable failure. */
export function failureOf(status: number, body: string): ApiFailure {
  try {
    const parsed: unknown = JSON.parse(body);
    const error = field(parsed, 'error');
    const message = field(error, 'message');
    if (typeof message === 'string') {
      return new ApiFailure(message, status, text(field(error, 'code')), text(field(error, 'hint')));
    }
  } catch {
    // Not JSON: a proxy's page, perhaps.
  }
  return new ApiFailure(`The controller answered with status ${status}.`, status);
}

/** The message of anything that a fetch may throw, in words for a person. */
export function reasonOf(error: unknown): string {
  if (error instanceof ApiFailure) return error.message;
  if (error instanceof DOMException && error.name === 'TimeoutError') return 'The controller did not answer in time.';
  if (error instanceof TypeError) return 'The controller cannot be reached.';
  return error instanceof Error ? error.message : String(error);
}

export function asFailure(error: unknown): ApiFailure {
  return error instanceof ApiFailure ? error : new ApiFailure(reasonOf(error), null);
}

/** Property `name` of a parsed JSON value; undefined when it has none. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

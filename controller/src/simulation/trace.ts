import { FleetError } from '@fleetgate/shared/errors';

/** One request of a trace. */
export interface Arrival {
  /** Since the beginning, ms. */
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Class of the prompt and model that was asked for, where the log of a running fleet tells. */
  readonly classId?: string | undefined;
  readonly model?: string | undefined;
}

/** A node that joins or is lost. */
export interface ChurnEvent {
  readonly atMs: number;
  readonly kind: 'add' | 'remove';
  readonly node: string;
}

const PROMPT_COLUMNS = ['context_tokens', 'input_tokens', 'prompt_tokens'];
const OUTPUT_COLUMNS = ['generated_tokens', 'output_tokens', 'completion_tokens'];
const MOST_TOKENS = 131_072;

/** Arrivals of a CSV with a header: `t_s`, tokens of the prompt, tokens of the answer. Throws `request.invalid` with the line. */
export function parseTrace(text: string, name: string): readonly Arrival[] {
  const { at, lines } = columnsOf(text, name);
  const [time, input, output] = [at(['t_s']), at(PROMPT_COLUMNS), at(OUTPUT_COLUMNS)];
  const arrivals = lines.map(([cells, line]): Arrival => {
    const promptTokens = number(cells[input], name, line, PROMPT_COLUMNS.join('|'));
    const outputTokens = number(cells[output], name, line, OUTPUT_COLUMNS.join('|'));
    return {
      atMs: 1000 * number(cells[time], name, line, 't_s'),
      promptTokens: Math.min(MOST_TOKENS, Math.max(1, Math.round(promptTokens))),
      outputTokens: Math.min(MOST_TOKENS, Math.max(1, Math.round(outputTokens))),
    };
  });
  return arrivals.sort((a, b) => a.atMs - b.atMs);
}

/** Joins and losses of a CSV with the columns `t_s`, `event` (add or remove) and `node`. */
export function parseChurn(text: string, name: string): readonly ChurnEvent[] {
  const { at, lines } = columnsOf(text, name);
  const [time, event, node] = [at(['t_s']), at(['event']), at(['node'])];
  return lines
    .map(([cells, line]): ChurnEvent => {
      const kind = cells[event];
      if (kind !== 'add' && kind !== 'remove') throw fault(name, line, 'event', 'add or remove', kind);
      return { atMs: 1000 * number(cells[time], name, line, 't_s'), kind, node: cells[node] ?? '' };
    })
    .sort((a, b) => a.atMs - b.atMs);
}

function columnsOf(text: string, name: string) {
  const [header = '', ...rest] = text.split(/\r?\n/);
  const columns = header.split(',').map((column) => column.trim());
  const at = (names: readonly string[]): number => {
    const found = columns.findIndex((column) => names.includes(column));
    if (found >= 0) return found;
    throw new FleetError(
      'request.invalid',
      `${name}: expected a column ${names.join(' or ')}, got ${header.slice(0, 80)}`,
      {
        hint: 'a CSV with a header, for example t_s,context_tokens,generated_tokens',
      },
    );
  };
  const lines = rest
    .map((line, index) => [line.split(','), index + 2] as const)
    .filter(([cells]) => cells.length > 1 || cells[0] !== '');
  return { at, lines };
}

function number(cell: string | undefined, name: string, line: number, column: string): number {
  const value = cell === undefined || cell.trim() === '' ? NaN : Number(cell);
  if (!Number.isFinite(value) || value < 0) throw fault(name, line, column, 'a number of at least 0', cell);
  return value;
}

function fault(name: string, line: number, column: string, expected: string, got: string | undefined): FleetError {
  return new FleetError(
    'request.invalid',
    `${name} line ${line}, ${column}: expected ${expected}, got ${JSON.stringify(got ?? null)}`,
  );
}

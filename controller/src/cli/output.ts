import { stripVTControlCharacters, styleText } from 'node:util';

import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { ErrorBody } from '@fleetgate/shared/api/operations';

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** `text` in a colour or weight when it goes to a terminal; as it is in a pipe or with NO_COLOR set. */
export function styled(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return stream.isTTY && (process.env['NO_COLOR'] ?? '') === ''
    ? styleText(style, text, { validateStream: false })
    : text;
}

/** The one JSON document of a command run with `--json`. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, process.stdout.isTTY ? 2 : 0)}\n`);
}

export function printLine(text = ''): void {
  process.stdout.write(`${text}\n`);
}

/** Progress and remarks: beside the answer, never in it. */
export function printNote(text: string): void {
  process.stderr.write(`${text}\n`);
}

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  readonly align?: 'left' | 'right';
}

/** Rows under their titles. On a terminal the widest text column is shortened until a line fits. */
export function printTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): void {
  const width = process.stdout.isTTY ? process.stdout.columns : undefined;
  for (const [index, line] of tableLines(columns, rows, width).entries()) {
    printLine(index === 0 ? styled('bold', line) : line);
  }
}

/** Lines of a table, titles first; at most `width` characters each where that is possible. Pure. */
export function tableLines<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number | undefined,
): readonly string[] {
  const gap = 2;
  const cells = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => oneLine(column.value(row)))),
  ];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]?.length ?? 0)));
  const room = width === undefined ? Infinity : width - gap * (columns.length - 1);
  const smallest = 8;
  for (let total = widths.reduce((sum, next) => sum + next, 0); total > room; total -= 1) {
    const widest = widths.indexOf(Math.max(...widths));
    const now = widths[widest] ?? 0;
    if (now <= smallest) break;
    widths[widest] = now - 1;
  }
  return cells.map((line) =>
    line
      .map((cell, at) => {
        const room = widths[at] ?? 0;
        const shown = cell.length > room ? `${cell.slice(0, room - 1)}…` : cell;
        return columns[at]?.align === 'right' ? shown.padStart(room) : shown.padEnd(room);
      })
      .join(' '.repeat(gap))
      .trimEnd(),
  );
}

// What a device reports must not move the cursor of the person who lists it.
function oneLine(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/\p{Cc}+/gu, ' ');
}

/** Says what went wrong and what to do about it; never a stack, unless FLEETGATE_DEBUG asks for it. */
export function printError(error: unknown, form: 'text' | 'json'): void {
  if (form === 'json') {
    printJson(errorBody(error));
    return;
  }
  printNote(`${styled('red', 'error:', process.stderr)} ${messageOf(error)}`);
  const hint = hintOf(error);
  if (hint !== undefined) printNote(`${styled('cyan', 'hint:', process.stderr)} ${hint}`);
  if ((process.env['FLEETGATE_DEBUG'] ?? '') !== '' && error instanceof Error) printNote(error.stack ?? '');
}

function hintOf(error: unknown): string | undefined {
  if (isFleetError(error)) return error.hint;
  return 'this is a fault of Fleetgate; FLEETGATE_DEBUG=1 shows where it happened';
}

function errorBody(error: unknown): ErrorBody {
  const hint = hintOf(error);
  return {
    error: {
      message: messageOf(error),
      type: isFleetError(error) ? error.kind : 'invariant',
      param: null,
      code: isFleetError(error) ? error.code : 'internal.invariant',
      ...(hint === undefined ? {} : { hint }),
    },
  };
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** Bytes for people, in powers of 1000. */
export function showBytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${BYTE_UNITS[unit] ?? 'B'}`;
}

/** A number with few digits, or a dash for what is not known. */
export function showNumber(value: number | null | undefined, unit = '', digits = 1): string {
  if (value === null || value === undefined) return '-';
  return `${value.toFixed(digits)}${unit === '' ? '' : ` ${unit}`}`;
}

/** How long ago, for people. */
export function showAge(fromMs: number | null, nowMs: number): string {
  if (fromMs === null) return 'never';
  const seconds = Math.max(0, Math.round((nowMs - fromMs) / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

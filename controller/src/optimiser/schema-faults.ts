import type { z } from 'zod';

import { shownNumber, shownValue } from './shown-value.js';

/** What a schema finds wrong with a document, each as `classes.0.rate: expected a number from 0, got "NaN"`. */
export function schemaFaults({ issues }: z.ZodError, document: unknown): string[] {
  const seen = new Set<string>();
  return issues.flatMap((issue) => {
    const path = issue.path.join('.') || '(top)';
    // What is not even a whole number need not be too large as well.
    if (seen.size === seen.add(path).size) return [];
    // What a schema's own check says is complete.
    if (issue.code === 'custom') return `${path}: ${issue.message}`;
    return `${path}: expected ${expected(issue)}, got ${shownValue(valueAt(document, issue.path))}`;
  });
}

const NAMES: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a text',
  array: 'a list',
  tuple: 'a list of two',
  object: 'an object',
  boolean: 'true or false',
};

function expected(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return NAMES[issue.expected] ?? issue.expected;
  if (issue.code === 'invalid_value') return issue.values.map((value) => JSON.stringify(value)).join(' or ');
  if (issue.code === 'too_small')
    return limited(issue.origin, issue.inclusive === false ? 'above' : 'from', issue.minimum);
  if (issue.code === 'too_big')
    return limited(issue.origin, issue.inclusive === false ? 'below' : 'up to', issue.maximum);
  return issue.message;
}

function limited(origin: string, side: 'above' | 'from' | 'below' | 'up to', limit: number | bigint): string {
  const what = origin === 'array' ? 'a list with a length' : origin === 'int' ? 'a whole number' : 'a number';
  return `${what} ${side} ${shownNumber(Number(limit))}`;
}

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (sofar, key) => (typeof sofar === 'object' && sofar !== null ? Reflect.get(sofar, key) : undefined),
    document,
  );
}

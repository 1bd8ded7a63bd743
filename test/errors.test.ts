import { readFileSync } from 'node:fs';

import { expect, it } from 'vitest';

import { ERROR_KINDS } from '@fleetgate/shared/errors';

it('docs/errors.md describes every error code, with its kind, and no other', () => {
  const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');
  const described = Object.fromEntries(
    [...page.matchAll(/^\| `([^`]+)`\s*\| (\w+)\s*\|/gm)].map(([, code, kind]) => [code, kind]),
  );
  expect(described).toEqual(ERROR_KINDS);
});

import { expect, it } from 'vitest';

import { kernelFigures } from './kernel-figures.js';

it('times the kernel on gates of three sizes and finds no wrong answer', () => {
  const { mismatches, table } = kernelFigures(7);
  expect(mismatches).toBe(0);
  expect(table.rows).toHaveLength(6);
  for (const row of table.rows) expect(row.at(-1)).toBe('5/5');
});

import { describe, expect, it } from 'vitest';

import { gathered } from './gathered.js';

describe('gathered', () => {
  it('runs once more for all who asked while it ran, with what they had done by then', async () => {
    let known = 0;
    const seen: number[] = [];
    const ask = gathered(async () => {
      seen.push(known);
      await new Promise((resolve) => setImmediate(resolve));
    });
    const all = Array.from({ length: 1000 }, () => {
      known += 1;
      return ask();
    });
    await Promise.all(all);
    expect(seen).toEqual([1, 1000]);
    await ask();
    expect(seen).toEqual([1, 1000, 1000]);
  });

  it('runs for the next after a failure, which reaches those alone whose run failed', async () => {
    let failing = true;
    const ask = gathered(() => (failing ? Promise.reject(new Error('down')) : Promise.resolve()));
    const first = ask();
    const second = ask();
    failing = false;
    await expect(first).rejects.toThrow('down');
    await second;
    await ask();
  });
});

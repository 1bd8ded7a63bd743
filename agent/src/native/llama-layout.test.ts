import { describe, expect, it } from 'vitest';

import { KNOWN_DEFAULTS, KNOWN_LIBRARY, KNOWN_PACKAGE, KNOWN_SIZES, layoutFault } from './llama-layout.js';
import { openLlamaLibrary } from './llama-library.js';

const known = {
  packageVersion: KNOWN_PACKAGE,
  libraryVersion: KNOWN_LIBRARY,
  sizes: KNOWN_SIZES,
  defaults: KNOWN_DEFAULTS,
};

describe('layoutFault', () => {
  it('knows the library that is installed', async () => {
    expect(layoutFault(known)).toBeUndefined();
    expect((await openLlamaLibrary()).version).toBe(KNOWN_LIBRARY);
  });

  it.each([
    ['another package', { packageVersion: '3.22.2' }, 'node-llama-cpp is 3.22.2, expected exactly 3.22.1'],
    ['another library', { libraryVersion: '0.6.0' }, 'llama.cpp is 0.6.0, expected exactly 0.5.0-dev'],
    ['a struct of another size', { sizes: { ...KNOWN_SIZES, contextParams: 168 } }, 'size of contextParams is 168'],
    [
      'shifted fields',
      { defaults: { ...KNOWN_DEFAULTS, batchTokens: 512 } },
      'default batchTokens is 512, expected 2048',
    ],
  ])('refuses %s', (_, parts, fault) => {
    expect(layoutFault({ ...known, ...parts })).toContain(fault);
  });
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { afterAll, describe, expect, it } from 'vitest';

import { writeLora } from './lora.fixture.js';
import { loraFault } from '@fleetgate/shared/gguf/lora';

const MATH = fileURLToPath(new URL('../../../experts/math/math-q8_0.gguf', import.meta.url));
const QUERY = 'blk.0.attn_q.weight';
const folder = mkdtempSync(join(tmpdir(), 'fleetgate-lora-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('loraFault', () => {
  const fault = async (weights: readonly string[], options = {}): Promise<string | undefined> => {
    const base = await readGguf(MATH);
    const path = join(folder, 'adapter.gguf');
    writeLora(path, base, weights, options);
    return loraFault(await readGguf(path), base);
  };

  it('finds none in an adapter of the model', async () => {
    expect(await fault([QUERY, 'blk.1.ffn_down.weight'])).toBeUndefined();
  });

  it('tells what does not fit', async () => {
    const base = await readGguf(MATH);
    expect(loraFault(base, base)).toMatch(/no LoRA adapter/);
    expect(await fault([QUERY], { metadata: { 'general.architecture': 'qwen3' } })).toMatch(/for architecture qwen3/);
    expect(await fault(['blk.77.attn_q.weight'])).toMatch(/blk.77.attn_q.weight, which the base model does not have/);
    expect(await fault([QUERY], { rank: 5 })).toMatch(/its change of blk.0.attn_q.weight is \d+ x 4 and 5 x/);
    expect(await fault([])).toMatch(/no weight/);
  });
});

import { describe, expect, it } from 'vitest';

import { estimateMemory, modelFacts } from './facts.js';
import { ggmlType } from './ggml-type.js';
import type { GgufElementType, GgufHeader, GgufScalar } from './header.js';

const F16 = ggmlType(1);
const Q8 = ggmlType(8);

function header(
  metadata: Record<string, GgufScalar | readonly number[]>,
  tensors: readonly { readonly elements: number; readonly type?: typeof F16 }[] = [{ elements: 1000 }],
): GgufHeader {
  const elementType: GgufElementType = 'uint32';
  const entries = Object.entries(metadata).map(([key, value]) => {
    const kept = typeof value === 'object' ? { elementType, length: value.length, elements: value } : value;
    return [key, { value: kept, offset: 0, byteLength: 0 }] as const;
  });
  return {
    version: 3,
    metadata: new Map(entries),
    tensors: tensors.map(({ elements, type = F16 }, i) => {
      if (type === undefined) throw new Error('unknown type');
      const byteLength = (elements / type.blockElements) * type.blockBytes;
      return { name: `t${i}`, dimensions: [elements], elements, type, fileOffset: 0, byteLength };
    }),
    alignment: 32,
    headerBytes: 100,
    dataOffset: 128,
    expectedFileBytes: 2128,
    fileBytes: 2128,
    tokenizer: undefined,
  };
}

const LLAMA = {
  'general.architecture': 'llama',
  'llama.context_length': 2048,
  'llama.block_count': 4,
  'llama.embedding_length': 64,
  'llama.attention.head_count': 8,
};

describe('modelFacts', () => {
  it('tells a dense model', () => {
    const facts = modelFacts(
      header({ ...LLAMA, 'general.name': 'Tiny' }, [{ elements: 3200, type: Q8 }, { elements: 64 }]),
      'f',
    );
    expect(facts).toMatchObject({
      architecture: 'llama',
      name: 'Tiny',
      parameters: 3264,
      contextTokens: 2048,
      layers: 4,
      embeddingLength: 64,
      slabsPerLayer: 0,
      slabsPerToken: 0,
      hasChatTemplate: false,
      quantisation: 'Q8_0',
      fileBytes: 2128,
    });
  });

  it('tells a mixture of experts, and its chat template', () => {
    const metadata = {
      ...LLAMA,
      'llama.expert_count': 64,
      'llama.expert_used_count': 8,
      'tokenizer.chat_template': '{{ x }}',
    };
    expect(modelFacts(header(metadata), 'f')).toMatchObject({
      slabsPerLayer: 64,
      slabsPerToken: 8,
      hasChatTemplate: true,
    });
  });

  it.each([
    [{}, 'general.architecture is missing'],
    [{ 'general.architecture': 7 }, 'general.architecture is not a text'],
    [{ 'general.architecture': 'llama' }, 'llama.context_length is missing'],
    [{ ...LLAMA, 'llama.block_count': 0 }, 'llama.block_count is 0'],
    [{ ...LLAMA, 'llama.block_count': 1.5 }, 'llama.block_count is 1.5'],
    [{ ...LLAMA, 'llama.block_count': 4e9 }, 'layers'],
    [{ ...LLAMA, 'llama.context_length': 'long' }, 'llama.context_length is long'],
    [{ ...LLAMA, 'llama.attention.head_count': true }, 'head_count is true'],
  ])('says what is missing or wrong: %j', (metadata, fault) => {
    expect(() => modelFacts(header(metadata), 'f.gguf')).toThrow(
      expect.objectContaining({ code: 'gguf.malformed', message: expect.stringContaining(fault) }),
    );
  });

  it('refuses a file without tensors and one of several parts', () => {
    expect(() => modelFacts(header(LLAMA, []), 'f')).toThrow(/no tensors/);
    expect(() => modelFacts(header({ ...LLAMA, 'split.count': 3 }), 'f')).toThrow(
      expect.objectContaining({ code: 'gguf.unsupported' }),
    );
  });
});

describe('estimateMemory', () => {
  const FIXED = 8 * 1024 * 1024;

  it('adds weights, KV cache, compute buffers and the fixed part', () => {
    // 1000 f16 weights; cache 2 B * 100 tokens * 2 sequences * 4 layers * 8 heads * (8 + 8); compute 4 B * 100 * 8 * 64.
    const expected = 2000 + 2 * 100 * 2 * (4 * 8 * 16) + 4 * 100 * 8 * 64 + FIXED;
    expect(estimateMemory(header(LLAMA), 100, 2, 'f')).toBe(expected);
  });

  it('knows grouped queries, per-layer heads and head lengths of their own', () => {
    const grouped = { ...LLAMA, 'llama.attention.head_count_kv': 2 };
    const perLayer = { ...LLAMA, 'llama.attention.head_count_kv': [2, 0, 2, 0], 'llama.attention.key_length': 32 };
    const cache = (metadata: Parameters<typeof header>[0]): number =>
      estimateMemory(header(metadata), 2, 1, 'f') - estimateMemory(header(metadata), 1, 1, 'f') - 4 * 8 * 64;
    expect(cache(grouped)).toBe(2 * 4 * 2 * 16);
    expect(cache(perLayer)).toBe(2 * (2 + 2) * (32 + 8));
  });

  it('refuses sizes that no memory holds', () => {
    expect(() => estimateMemory(header({ ...LLAMA, 'llama.embedding_length': 2 ** 50 }), 2048, 1, 'f')).toThrow(
      /absurd/,
    );
  });
});

import type { TensorTypeRule } from '../native/llama-quantise.js';

const BLOCK = /^blk\.(\d+)\.(.+)$/;

/**
 * Rules that give each tensor exactly its type: one of each name and type, for all layers at once, since the library
 * tries them one after the other on every tensor and bounds the length of a pattern.
 */
export function rulesFor(typeByTensor: ReadonlyMap<string, number>): readonly TensorTypeRule[] {
  const layers = new Map<string, { readonly suffix: string; readonly type: number; readonly layers: string[] }>();
  const rules: TensorTypeRule[] = [];
  for (const [name, type] of typeByTensor) {
    const [, layer, suffix] = BLOCK.exec(name) ?? [];
    if (layer === undefined || suffix === undefined) {
      rules.push({ pattern: `^${escaped(name)}$`, type });
      continue;
    }
    const key = `${type} ${suffix}`;
    const found = layers.get(key) ?? { suffix, type, layers: [] };
    found.layers.push(layer);
    layers.set(key, found);
  }
  for (const { suffix, type, layers: numbers } of layers.values()) {
    rules.push({ pattern: `^blk\\.(?:${numbers.join('|')})\\.${escaped(suffix)}$`, type });
  }
  return rules;
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

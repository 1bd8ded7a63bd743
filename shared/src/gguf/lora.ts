import type { GgufHeader, GgufTensor } from './header.js';

/** A change of low rank of one weight: `W + scale * alpha / rank * B A` (LoRA, Hu et al. 2021, section 4.1). */
const PART = /^(.*)\.lora_([ab])$/;

/** Why a file is no LoRA adapter of that base model, in words; undefined where it is one. */
export function loraFault(adapter: GgufHeader, base: GgufHeader): string | undefined {
  const text = (key: string, { metadata } = adapter): string | undefined => {
    const value = metadata.get(key)?.value;
    return typeof value === 'string' ? value : undefined;
  };
  if (text('general.type') !== 'adapter' || text('adapter.type') !== 'lora') {
    return 'it is no LoRA adapter (general.type and adapter.type say so)';
  }
  const [own, its] = [text('general.architecture'), text('general.architecture', base)];
  if (own !== its) return `it is for architecture ${own}, the base model is ${its}`;
  const weights = new Map(base.tensors.map((tensor) => [tensor.name, tensor]));
  const parts = new Map<string, { a?: GgufTensor; b?: GgufTensor }>();
  for (const tensor of adapter.tensors) {
    const [, weight, part] = PART.exec(tensor.name) ?? [];
    if (weight === undefined) return `its tensor ${tensor.name} is no half of a change (.lora_a, .lora_b)`;
    parts.set(weight, { ...parts.get(weight), [part === 'a' ? 'a' : 'b']: tensor });
  }
  if (parts.size === 0) return 'it changes no weight';
  for (const [name, { a, b }] of parts) {
    const weight = weights.get(name);
    if (weight === undefined) return `it changes ${name}, which the base model does not have`;
    if (a === undefined || b === undefined) return `its change of ${name} has one half only`;
    const [columns, rows] = weight.dimensions;
    const fits = a.dimensions[0] === columns && b.dimensions[1] === rows && a.dimensions[1] === b.dimensions[0];
    if (!fits) {
      return (
        `its change of ${name} is ${a.dimensions.join(' x ')} and ${b.dimensions.join(' x ')}, ` +
        `the weight ${weight.dimensions.join(' x ')}`
      );
    }
  }
  return undefined;
}

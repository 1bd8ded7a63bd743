import type { Command } from 'commander';

type Register = (gguf: Command) => void;

/** Work on model files, by name. Only the one that is asked for is loaded; for `--help`, all are. */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  elastic: async () => (await import('./gguf-elastic.js')).registerGgufElastic,
  synth: async () => (await import('./gguf-synth.js')).registerGgufSynth,
  inspect: async () => (await import('./gguf-inspect.js')).registerGgufInspect,
  trace: async () => (await import('./gguf-trace.js')).registerGgufTrace,
  consistency: async () => (await import('./gguf-consistency.js')).registerGgufConsistency,
  profile: async () => (await import('./gguf-profile.js')).registerGgufProfile,
  merge: async () => (await import('./gguf-merge.js')).registerGgufMerge,
  embed: async () => (await import('./gguf-embed.js')).registerGgufEmbed,
  'mask-eval': async () => (await import('./gguf-mask-eval.js')).registerGgufMaskEval,
  prune: async () => (await import('./gguf-prune.js')).registerGgufPrune,
  quantise: async () => (await import('./gguf-quantise.js')).registerGgufQuantise,
  variants: async () => (await import('./gguf-variants.js')).registerGgufVariants,
};

/** Adds `gguf` with the command that `argv` asks for. */
export async function registerGguf(program: Command, argv: readonly string[]): Promise<void> {
  const gguf = program.command('gguf').description('look into model files, prune, quantise and make them');
  const wanted = COMMANDS[argv[1] ?? ''];
  for (const load of wanted === undefined ? Object.values(COMMANDS) : [wanted]) (await load())(gguf);
}

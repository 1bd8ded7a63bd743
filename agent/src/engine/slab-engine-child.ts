/**
 * The process that runs mixtures of experts whose slabs the engine looks after, through llama.cpp's C interface. Started by
 * LlamaEngine like the ordinary one, and ended with it. A slab that is computed with without being in memory ends it.
 */
import { openLlamaLibrary } from '../native/llama-library.js';
import type { ChildOptions } from './child-message.js';
import { runEngineChild, type StartedChild } from './engine-child.js';
import { openSlabHost } from './slab-host-opening.js';

async function start(options: ChildOptions): Promise<StartedChild> {
  const library = await openLlamaLibrary();
  return {
    version: `slab-aware, llama.cpp ${library.version}`,
    open: (model, signs, signal) => openSlabHost(library, model, options, signs, signal),
  };
}

await runEngineChild(start);

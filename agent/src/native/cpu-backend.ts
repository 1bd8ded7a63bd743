import type { Koffi } from './llama-structs.js';

type Library = ReturnType<Koffi['load']>;

/**
 * Functions of ggml's CPU backend by their names, 0 for one that it does not have: which build of it is loaded is decided by
 * processor, so that none of them can be linked to.
 */
export function cpuFunctions(base: Library, ggml: Library): (name: string) => bigint {
  const registered = ggml.func('uint64_t ggml_backend_reg_by_name(const char *)');
  const functionOf = base.func('uint64_t ggml_backend_reg_get_proc_address(uint64_t, const char *)');
  return (name) => {
    const cpu = Number(registered('CPU'));
    return cpu === 0 ? 0n : BigInt(functionOf(cpu, name) as number | bigint);
  };
}

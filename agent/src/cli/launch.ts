import { fileURLToPath } from 'node:url';

import type { Command } from 'commander';

import { systemClock } from '@fleetgate/shared/clock';
import { createLogger } from '@fleetgate/shared/logger';

import { defaultDataDir } from '../config/config.js';
import { DiskPrograms, programFolder } from '../launcher/disk-programs.js';
import { Launcher } from '../launcher/launcher.js';
import { startProgram } from '../launcher/process-program.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Adds `launch`: the agent under a launcher, which exchanges it for released ones. `run` is given its folder and its options. */
export function registerLaunch(program: Command, argv: readonly string[], run = launch): void {
  program
    .command('launch')
    .description(
      'run the agent under a launcher that takes its releases, and goes back to the one before when one does badly',
    )
    .requiredOption('--name <name>', 'name of this device, unique in its fleet')
    .option('--data <dir>', 'folder of this agent alone (default: .fleetgate/agents/NAME)')
    .argument('[options...]', 'any other option of `fleetgate agent`')
    .allowUnknownOption()
    .action(async (_: readonly string[], { name, data }: { readonly name: string; readonly data?: string }) => {
      process.exitCode = await run(data ?? defaultDataDir(name), argv.slice(1));
    });
}

async function launch(dataDir: string, options: readonly string[]): Promise<number> {
  const programs = new DiskPrograms(programFolder(dataDir), ROOT);
  const launcher = new Launcher({
    read: () => programs.read(),
    keep: (state) => programs.keep(state),
    clean: (state) => programs.clean(state),
    start: (wanted, onMessage) => startProgram(programs.entry(wanted), ['agent', ...options], onMessage),
    clock: systemClock,
    log: createLogger('launcher', 'info'),
  });
  const stop = (): void => launcher.stop();
  const signals = ['SIGTERM', 'SIGINT'] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    return await launcher.run();
  } finally {
    for (const signal of signals) process.removeListener(signal, stop);
  }
}

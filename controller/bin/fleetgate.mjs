#!/usr/bin/env node
// The one entry of the command line. What runs on a device belongs to the agent, everything else to the controller;
// neither imports the other, so the choice is made here.
import { existsSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';

const AGENT_COMMANDS = new Set(['agent', 'launch', 'pack-agent', 'doctor', 'outcomes', 'gguf', 'board']);
const argv = process.argv.slice(2);
const AGENT_BENCHES = new Set(['offload', 'batching', 'engine', 'first-token']);
const onDevice = AGENT_COMMANDS.has(argv[0] ?? '') || (argv[0] === 'bench' && AGENT_BENCHES.has(argv[1] ?? ''));
const entry = new URL(onDevice ? '../../agent/dist/cli/main.js' : '../dist/cli/main.js', import.meta.url);

if (!existsSync(entry)) {
  console.error(
    'fleetgate is not built yet.\nhint: run `npm run setup` in the repository (npm start and npm test do it by themselves)',
  );
  process.exit(1);
}
// The daemon waits for messages most of its life, beside models that want the memory: V8's optimising compilers and a
// growing nursery would take 20 MB to save it microseconds. It has to be said before the first module is loaded.
const LEAN = ['--no-opt', '--no-maglev', '--optimize-for-size', '--semi-space-growth-factor=1'];
if (argv[0] === 'agent') for (const flag of LEAN) setFlagsFromString(flag);
// Left to itself the controller's heap grows to three times what it keeps, 150 MB of garbage under load, before it is swept.
const STEADY = '--heap-growing-percent=30';
if (argv[0] === 'controller') setFlagsFromString(STEADY);

const cli = await import(entry.href);
process.exitCode = await (onDevice ? cli.runAgentCli(argv) : cli.runCli(argv));

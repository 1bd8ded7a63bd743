#!/usr/bin/env node
// The one entry of the command line. What runs on a device belongs to the agent, everything else to the controller;
// neither imports the other, so the choice is made here.
import { existsSync } from 'node:fs';

const AGENT_COMMANDS = new Set(['agent', 'doctor', 'outcomes', 'gguf']);
const argv = process.argv.slice(2);
const onDevice = AGENT_COMMANDS.has(argv[0] ?? '') || (argv[0] === 'bench' && argv[1] === 'offload');
const entry = new URL(onDevice ? '../../agent/dist/cli/main.js' : '../dist/cli/main.js', import.meta.url);

if (!existsSync(entry)) {
  console.error(
    'fleetgate is not built yet.\nhint: run `npm run setup` in the repository (npm start and npm test do it by themselves)',
  );
  process.exit(1);
}
const cli = await import(entry.href);
process.exitCode = await (onDevice ? cli.runAgentCli(argv) : cli.runCli(argv));

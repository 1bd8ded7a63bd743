import { spawnSync } from 'node:child_process';
import { closeSync, fsyncSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { cpus, freemem, totalmem } from 'node:os';
import { join, resolve } from 'node:path';

import type { Command } from 'commander';

import { DiskBoard } from '@fleetgate/firmware-configs/disk-board';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { systemClock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { createLlamaEngine } from '../engine/llama-engine.js';
import { boardSensors } from '../sensors/board-sensors.js';
import { recogniseBoard } from '../sensors/linux-board-facts.js';
import { runCommand } from '../sensors/process-command.js';
import { settingsFinding } from './doctor-settings.js';

interface DoctorOptions {
  readonly data: string;
  readonly url: string;
  readonly json?: boolean;
}

/** One thing that was looked at. `missing` keeps Fleetgate from working; `limited` costs a feature or speed. */
export interface Finding {
  readonly subject: string;
  readonly state: 'ok' | 'limited' | 'missing';
  readonly found: string;
  /** What to do about it. */
  readonly hint?: string;
}

const NEEDED_BYTES = 2e9;
const DISK_TEST_BYTES = 32 * 1024 * 1024;
const ENGINE_DEADLINE_MS = 30_000;

export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('check this machine: engine, sensors, power settings, disk, memory, database driver, ports, clock')
    .option('--data <dir>', 'folder whose disk is checked', '.fleetgate')
    .option('--url <url>', 'controller to compare the clock with', 'http://127.0.0.1:8080')
    .option('--json', 'print the findings as JSON')
    .action(async (options: DoctorOptions) => {
      const findings = await examine(options);
      if (options.json === true) process.stdout.write(`${JSON.stringify({ findings })}\n`);
      else for (const finding of findings) process.stdout.write(lineOf(finding));
      process.exitCode = findings.some(({ state }) => state === 'missing') ? 1 : 0;
    });
}

async function examine(options: DoctorOptions): Promise<readonly Finding[]> {
  const controller = await controllerOf(options.url);
  return [
    nodeVersion(),
    await engine(),
    ...(await boardFindings()),
    memory(),
    disk(resolve(options.data)),
    await databaseDriver(),
    compiler(),
    ...(controller === undefined ? [await port(8080, '--http-port'), await port(1883, '--mqtt-port')] : []),
    clock(options.url, controller),
  ];
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const current = major > 20 || (major === 20 && minor >= 19);
  const found = `Node ${process.versions.node} on ${process.platform} ${process.arch}`;
  return current
    ? { subject: 'node', state: 'ok', found }
    : { subject: 'node', state: 'missing', found, hint: 'install Node 20.19 or newer' };
}

async function engine(): Promise<Finding> {
  const llama = createLlamaEngine({
    threads: 1,
    sequences: 1,
    gpu: 'off',
    watchdog: milliseconds(ENGINE_DEADLINE_MS),
    log: silentLogger,
    clock: systemClock,
  });
  try {
    return { subject: 'engine', state: 'ok', found: await llama.version() };
  } catch (error) {
    return {
      subject: 'engine',
      state: 'missing',
      found: messageOf(error),
      hint: 'npm install node-llama-cpp@3.22.1, or run the agent with --engine http and a llama-server or Ollama on the device',
    };
  } finally {
    await llama.close();
  }
}

async function boardFindings(): Promise<readonly Finding[]> {
  const board = await recogniseBoard('/', process.env['PREFIX']);
  return [await sensors(board), settingsFinding(board?.kind, await new DiskBoard({ root: '/' }).read())];
}

async function sensors(board: BoardProfile | undefined): Promise<Finding> {
  if (board === undefined) {
    return {
      subject: 'sensors',
      state: 'limited',
      found: `no board profile fits this machine (${process.arch})`,
      hint: 'firmware-configs/README.md says how to add one; meanwhile choose one with --board',
    };
  }
  const reader = boardSensors(board, { root: '/', run: runCommand, clock: systemClock }, silentLogger);
  await reader.read();
  // Counters (cpu, RAPL) need two looks.
  await new Promise((done) => setTimeout(done, 300));
  const reading = await reader.read();
  const seen = Object.entries(reading)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${typeof value === 'number' ? Number(value.toPrecision(4)) : String(value)}`);
  const found = `${board.id}: ${seen.join(', ') || 'nothing to read'}`;
  return reading.powerW === undefined
    ? {
        subject: 'sensors',
        state: 'limited',
        found,
        hint: 'no power sensor: joules are modelled from the board profile and utilisation, and say so',
      }
    : { subject: 'sensors', state: 'ok', found };
}

function memory(): Finding {
  const found = `${gib(freemem())} free of ${gib(totalmem())}, ${cpus().length} cores`;
  return freemem() > 1e9
    ? { subject: 'memory', state: 'ok', found }
    : { subject: 'memory', state: 'limited', found, hint: 'a controller, a broker and three agents take about 1 GiB' };
}

function disk(folder: string): Finding {
  try {
    mkdirSync(folder, { recursive: true });
    const { bavail, bsize } = statfsSync(folder);
    const found = `${gib(bavail * bsize)} free in ${folder}, writes ${(writeSpeed(folder) / 1e6).toFixed(0)} MB/s`;
    return bavail * bsize > NEEDED_BYTES
      ? { subject: 'disk', state: 'ok', found }
      : { subject: 'disk', state: 'limited', found, hint: 'model files need their size and some headroom' };
  } catch (error) {
    return { subject: 'disk', state: 'missing', found: messageOf(error), hint: 'choose another folder with --data' };
  }
}

/** Bytes per second of writing and syncing 32 MiB. */
function writeSpeed(folder: string): number {
  const path = join(folder, 'doctor.tmp');
  const block = Buffer.alloc(1024 * 1024, 1);
  const file = openSync(path, 'w');
  try {
    const start = performance.now();
    for (let written = 0; written < DISK_TEST_BYTES; written += block.length) writeSync(file, block);
    fsyncSync(file);
    return DISK_TEST_BYTES / ((performance.now() - start) / 1000);
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
}

async function databaseDriver(): Promise<Finding> {
  for (const driver of ['sqlite3', 'libsql']) {
    try {
      await import(driver);
      return driver === 'sqlite3'
        ? { subject: 'database', state: 'ok', found: driver }
        : {
            subject: 'database',
            state: 'limited',
            found: 'libsql, because sqlite3 could not be compiled',
            hint: 'both work; for sqlite3: apt-get install -y g++ make python3, remove node_modules, npm run setup',
          };
    } catch {
      continue;
    }
  }
  return {
    subject: 'database',
    state: 'limited',
    found: 'neither sqlite3 nor libsql',
    hint: 'an agent needs none; for a controller: npm run setup',
  };
}

function compiler(): Finding {
  const absent = ['g++', 'make', 'python3'].filter(
    (tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error !== undefined,
  );
  return absent.length === 0
    ? { subject: 'compiler', state: 'ok', found: 'g++, make, python3' }
    : {
        subject: 'compiler',
        state: 'limited',
        found: `not found: ${absent.join(', ')}`,
        hint: `only for compiling sqlite3 at installation: apt-get install -y ${absent.join(' ')}`,
      };
}

async function port(number: number, option: string): Promise<Finding> {
  const subject = `port ${number}`;
  const free = await new Promise<boolean>((done) => {
    const server = createServer();
    server.once('error', () => done(false));
    server.listen(number, '127.0.0.1', () => server.close(() => done(true)));
  });
  return free
    ? { subject, state: 'ok', found: 'free' }
    : { subject, state: 'limited', found: 'in use by another program', hint: `choose another with ${option}` };
}

async function controllerOf(url: string): Promise<Response | undefined> {
  try {
    return await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(2000) });
  } catch {
    return undefined;
  }
}

function clock(url: string, controller: Response | undefined): Finding {
  const date = controller?.headers.get('date');
  if (date === undefined || date === null) {
    return { subject: 'clock', state: 'ok', found: `${new Date().toISOString()}; no controller at ${url} to compare` };
  }
  const apartS = Math.round((Date.now() - Date.parse(date)) / 1000);
  const found = `${apartS} s from the controller's`;
  return Math.abs(apartS) <= 5
    ? { subject: 'clock', state: 'ok', found }
    : {
        subject: 'clock',
        state: 'limited',
        found,
        hint: 'leases and samples go by receive time, so nothing breaks; logs are easier to read with NTP',
      };
}

function lineOf({ subject, state, found, hint }: Finding): string {
  const advice = hint === undefined || state === 'ok' ? '' : `\n${' '.repeat(20)}-> ${hint}`;
  return `${state.padEnd(8)} ${subject.padEnd(10)} ${found}${advice}\n`;
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

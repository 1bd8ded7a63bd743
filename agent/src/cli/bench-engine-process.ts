import { type ChildProcess, fork } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { processEntry } from '@fleetgate/shared/process-entry';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { EngineModel } from '../engine/engine.js';
import { createLlamaEngine, type LlamaEngine } from '../engine/llama-engine.js';
import type { DirectRequest, FromDirectChild } from './bench-engine-child.js';

/** One prompt answered. Times from the call on, as its caller sees them; CPU of the process that computes and of ours. */
export interface Answered {
  readonly promptTokens: number;
  /** Of the prompt, tokens that were evaluated before. */
  readonly reusedTokens: number;
  /** Evaluations between the first text and the end. */
  readonly decoded: number;
  readonly firstMs: number;
  readonly firstCpuMs: number;
  readonly totalMs: number;
  readonly totalCpuMs: number;
  readonly text: string;
}

/** Something that answers prompts. */
export interface Contestant {
  answer(prompt: string, maxTokens: number, signal: AbortSignal): Promise<Answered>;
  close(): Promise<void>;
}

export interface Loading {
  readonly path: string;
  readonly contextTokens: number;
  readonly threads: number;
}

const WATCHDOG = milliseconds(60_000);
const ANSWER_MS = 300_000;
const VARIANT = 'bench' as VariantId;

/** llama.cpp's library in a process of its own, called without anything of the engine. Throws `engine.crashed`. */
export async function openDirect(loading: Loading, signal: AbortSignal): Promise<Contestant> {
  const child = fork(processEntry(import.meta.url, './bench-engine-child.js'), [], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
  });
  const close = async (): Promise<void> => {
    const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
    if (child.kill('SIGKILL')) await gone;
  };
  try {
    await ask(child, { kind: 'open', ...loading }, signal);
    return {
      answer: async (prompt, maxTokens, abort) => {
        const message = await ask(child, { kind: 'answer', prompt, maxTokens }, abort);
        if (message.kind !== 'answered') throw crashed(`an answer of kind ${message.kind}`);
        return { ...message.answer, reusedTokens: 0 };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function ask(child: ChildProcess, request: DirectRequest, signal: AbortSignal): Promise<FromDirectChild> {
  const done = new AbortController();
  const either = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  try {
    return await new Promise<FromDirectChild>((resolve, reject) => {
      const once = { signal: done.signal, once: true };
      either.addEventListener(
        'abort',
        () => reject(signal.aborted ? (signal.reason as Error) : crashed('no answer')),
        once,
      );
      child.once('message', (message: FromDirectChild) => {
        if (message.kind === 'failed') reject(crashed(message.message));
        else resolve(message);
      });
      child.once('exit', (code, name) => reject(crashed(`it ended: ${name ?? `exit code ${code}`}`)));
      child.send(request);
    });
  } finally {
    done.abort();
    child.removeAllListeners('message');
    child.removeAllListeners('exit');
  }
}

export type EngineKind = 'models' | 'slabs';

export function startEngine(hosts: EngineKind, threads: number, clock: Clock, sequences = 1): LlamaEngine {
  return createLlamaEngine({ threads, sequences, gpu: 'off', hosts, watchdog: WATCHDOG, log: silentLogger, clock });
}

export function modelOf({ path, contextTokens }: Loading): EngineModel {
  return { variantId: VARIANT, path, contextTokens, stop: [] };
}

/** One of our engines, its child process and the way of every text to the caller included. */
export async function openEngine(
  hosts: EngineKind,
  loading: Loading,
  clock: Clock,
  signal: AbortSignal,
): Promise<Contestant> {
  const engine = startEngine(hosts, loading.threads, clock);
  try {
    await engine.load(modelOf(loading), signal);
  } catch (error) {
    await engine.close();
    throw error;
  }
  return {
    answer: (prompt, maxTokens, abort) => answerOf(engine, prompt, maxTokens, abort),
    close: () => engine.close(),
  };
}

/** Lets an engine with the benchmark's model answer. */
export async function answerOf(
  engine: LlamaEngine,
  prompt: string,
  maxTokens: number,
  signal: AbortSignal,
): Promise<Answered> {
  const startedAt = performance.now();
  const before = spentOn(engine.childPid);
  let first: { readonly ms: number; readonly cpuMs: number; readonly tokens: number } | undefined;
  let text = '';
  const result = await engine.generate(
    VARIANT,
    { kind: 'complete', prompt },
    { maxTokens, temperature: 0, topP: 1, stop: [] },
    (piece, tokens) => {
      text += piece;
      first ??= { ms: performance.now() - startedAt, cpuMs: spentOn(engine.childPid) - before, tokens };
    },
    signal,
  );
  const totalMs = performance.now() - startedAt;
  const totalCpuMs = spentOn(engine.childPid) - before;
  const { ms: firstMs, cpuMs: firstCpuMs, tokens } = first ?? { ms: totalMs, cpuMs: totalCpuMs, tokens: 0 };
  const { promptTokens, reusedTokens = 0, outputTokens, finishReason } = result;
  // An end token is evaluated for as well, and given to nobody.
  const decoded = Math.max(0, outputTokens - tokens + (finishReason === 'stop' ? 1 : 0));
  return { promptTokens, reusedTokens, decoded, firstMs, firstCpuMs, totalMs, totalCpuMs, text };
}

/** CPU time of a process and of ours so far, ms. */
export function spentOn(pid: number | undefined): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000 + (pid === undefined ? 0 : threadsTime(pid));
}

/** Time on a CPU of all threads that a process has, ms; to the nanosecond, which `/proc/PID/stat` is not. */
function threadsTime(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]);
    } catch {
      // It ended meanwhile.
    }
  }
  return nanoseconds / 1e6;
}

/** Memory in use, bytes, shared pages included; undefined when there is no such process. */
export function residentBytes(pid: number | undefined): number | undefined {
  try {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return kib === undefined ? undefined : 1024 * Number(kib);
  } catch {
    return undefined;
  }
}

function crashed(what: string): FleetError {
  return new FleetError('engine.crashed', `bench engine, the library by itself: ${what}`);
}

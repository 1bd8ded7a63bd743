/**
 * The process that runs llama.cpp for an agent. It is started by LlamaEngine, talks to it over IPC, and ends with it.
 */
import { FleetError, messageOf } from '@fleetgate/shared/errors';

import type { ChildOptions } from './child-message.js';
import { runEngineChild, type StartedChild } from './engine-child.js';
import { loadError } from './llama-failure.js';
import { LlamaModelHost } from './llama-model-host.js';
import { LlamaModels } from './llama-models.js';

/** Lines of llama.cpp's log that explain a failed load. */
const KEPT_LOG_LINES = 4;

async function start(options: ChildOptions): Promise<StartedChild> {
  const { getLlama, getModuleVersion, LlamaLogLevel } = await import('node-llama-cpp').catch((cause: unknown) => {
    throw new FleetError('engine.unavailable', `node-llama-cpp is not installed: ${messageOf(cause)}`, {
      cause,
      hint: 'run `npm install --include=optional` in the repository, or use an HTTP engine',
    });
  });
  const log: string[] = [];
  const llama = await getLlama({
    gpu: options.gpu === 'auto' ? 'auto' : false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    maxThreads: options.threads,
    logLevel: LlamaLogLevel.error,
    logger: (_level, line) => {
      log.push(line.trim());
      if (log.length > KEPT_LOG_LINES) log.shift();
    },
  }).catch((cause: unknown) => {
    throw new FleetError('engine.unavailable', `llama.cpp cannot start on this machine: ${messageOf(cause)}`, {
      cause,
      hint: 'prebuilt binaries need glibc on x64 or arm64; otherwise run llama-server and use an HTTP engine',
    });
  });
  const device = llama.gpu === false ? 'processor' : `${llama.gpu} (${(await llama.getGpuDeviceNames()).join(', ')})`;
  const version = `node-llama-cpp ${await getModuleVersion()}, llama.cpp ${llama.llamaCppRelease.release}, ${device}`;
  const models = new LlamaModels(llama);
  return {
    version,
    open: async (model, { onProgress }, signal) => {
      try {
        return await LlamaModelHost.load(models, model, options, onProgress, signal);
      } catch (error) {
        throw loadError(model, error, log.join(' | '), signal);
      }
    },
  };
}

await runEngineChild(start);

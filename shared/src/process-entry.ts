import { fileURLToPath } from 'node:url';

/**
 * Path of a compiled program of ours that is to run in a process or worker of its own.
 *
 * `path` is relative to the calling module (`import.meta.url`). Tests run from `src`, but Node can only start what
 * `tsc -b` wrote to `dist`, so a `src` folder in the caller's path is answered with its `dist` twin.
 */
export function processEntry(callerUrl: string, path: string): string {
  return fileURLToPath(new URL(path, callerUrl)).replace(
    /([\\/](?:controller|agent|shared|firmware-configs)[\\/])src([\\/])/,
    '$1dist$2',
  );
}

/**
 * For processes that serve. V8's young generation grows to 32 MB under load; with half of that the controller had 172 MB
 * instead of 190 and the broker 121 instead of 134, at 370 requests/s of instant devices and no more CPU. It cannot be
 * set once a program runs.
 */
export const SERVING_ARGUMENTS: readonly string[] = ['--max-semi-space-size=8'];

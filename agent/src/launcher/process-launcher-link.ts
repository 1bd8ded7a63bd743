import { fromLauncherSchema, type ToLauncher } from './launch-messages.js';
import type { LaunchState } from './launch-state.js';

/** The launcher as seen from the program that it has started. */
export interface LauncherLink {
  /** Hears the launcher's state; never, where this program was started by hand. */
  onState(listener: (state: LaunchState) => void): void;
  say(message: ToLauncher): void;
}

/** By the channel to the parent process, if there is one. */
export const processLauncherLink: LauncherLink = {
  onState: (listener) => {
    if (!process.connected) return;
    process.on('message', (value) => {
      const message = fromLauncherSchema.safeParse(value);
      if (message.success) listener(message.data.state);
    });
  },
  say: (message) => {
    // A launcher that is gone ends this program, too.
    if (process.connected) process.send?.(message, undefined, {}, () => {});
  },
};

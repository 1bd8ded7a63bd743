import type { Clock } from '@fleetgate/shared/clock';
import type { DeviceEvent } from '@fleetgate/shared/protocol/telemetry';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';

/** Of one code, at most one event in this time; what was held back is counted in the next. */
const QUIET_MS = 10_000;
/** Events kept while the link is away. */
const MOST_WAITING = 50;

type Told = Pick<DeviceEvent, 'level' | 'code' | 'message'>;

/** Tells the controller what is worth telling at once, rate-limited by code, kept over a short outage. */
export class DeviceEvents {
  readonly #clock: Clock;
  readonly #send: (event: DeviceEvent) => Promise<void>;
  readonly #byCode = new Map<string, { at: number; heldBack: number }>();
  #waiting: (Told & { readonly atMs: number })[] = [];
  #epoch: number | undefined;
  #isSending = false;

  constructor(clock: Clock, send: (event: DeviceEvent) => Promise<void>) {
    this.#clock = clock;
    this.#send = send;
  }

  tell(level: Told['level'], code: string, message: string): void {
    const now = this.#clock.now();
    const before = this.#byCode.get(code);
    if (before !== undefined && now - before.at < QUIET_MS) {
      before.heldBack += 1;
      return;
    }
    const more = before !== undefined && before.heldBack > 0 ? ` (and ${before.heldBack} more like it)` : '';
    this.#byCode.set(code, { at: now, heldBack: 0 });
    this.#waiting.push({ level, code: code.slice(0, 80), message: `${message.slice(0, 1900)}${more}`, atMs: now });
    if (this.#waiting.length > MOST_WAITING) this.#waiting.shift();
    void this.#flush();
  }

  /** A session with this epoch began; undefined: it ended. */
  onLink(epoch: number | undefined): void {
    this.#epoch = epoch;
    void this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      for (;;) {
        const [event] = this.#waiting;
        const epoch = this.#epoch;
        if (event === undefined || epoch === undefined) return;
        await this.#send({ v: PROTOCOL_VERSION, epoch, ...event });
        this.#waiting.shift();
      }
    } catch {
      // Not taken: it stays first, and goes with the next event or session.
    } finally {
      this.#isSending = false;
    }
  }
}

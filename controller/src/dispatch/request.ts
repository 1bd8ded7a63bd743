import type { RequestView } from '@fleetgate/shared/api/operations';
import type { DeviceId, JobId, RequestId } from '@fleetgate/shared/ids';
import type { Job } from '@fleetgate/shared/protocol/job';
import type { Milliseconds, UnixMs } from '@fleetgate/shared/units/quantity';

import type { GateScore } from '../gating/gate.js';
import type { Deadlines } from './deadlines.js';
import type { JobEvents } from './job-events.js';
import type { ModelTarget } from './model-target.js';
import type { Prompt } from './prompt.js';
import type { Choice, RequestEvents } from './request-events.js';
import type { SaidSoFar } from './said-so-far.js';

/** A request under way; the dispatcher is its only writer. */
export interface Request {
  readonly id: RequestId;
  readonly prompt: Prompt;
  /** Undefined for a model that the fleet does not know. */
  readonly target: ModelTarget | undefined;
  readonly score: GateScore | undefined;
  readonly promptTokens: number;
  readonly receivedAt: UnixMs;
  readonly events: RequestEvents;
  readonly deadlines: Deadlines<'request' | 'again' | 'hedge'>;
  /** Devices that have failed it. */
  readonly tried: Set<DeviceId>;
  readonly said: SaidSoFar;
  record: RequestView;
  run: JobRun | undefined;
  /** A second job, while neither has said anything. */
  rival: JobRun | undefined;
  firstTokenAt: UnixMs | undefined;
  /** Since when it has been without a device after a failure; undefined while it has one. */
  strandedAt: UnixMs | undefined;
  stopAbort: () => void;
  /** Whether budgets and shares have counted it: once, however often it moves before it is sent. */
  counted: boolean;
  ended: boolean;
}

/**
 * One job of a request at one device; `JobRuns` is its only writer.
 *
 * | phase | means | left by |
 * |---|---|---|
 * | held | waits here for its turn at a busy device | its turn, or the loss or silence of the device |
 * | sent | given to the broker | accepted, tokens, or the accept deadline |
 * | accepted | waits or runs at the device | tokens, an end, or the loss or silence of the device |
 * | streaming | has sent text: another device would go on after it | an end, silence, or the loss of the device |
 * | abandoned | not wanted any more, told to stop | its end, the loss of the device, or the drain deadline |
 * | ended | nothing more is expected | |
 */
export interface JobRun {
  readonly jobId: JobId;
  /** Which of the record's attempts it is, from 0. */
  readonly attempt: number;
  readonly request: Request;
  readonly choice: Choice;
  /** Time that it was to occupy its device. */
  readonly predicted: Milliseconds;
  /** As it was sent, or is to be; it has less time left by what it waited here. */
  job: Job;
  readonly events: JobEvents;
  readonly deadlines: Deadlines<'accept' | 'gap' | 'stall' | 'loss' | 'drain'>;
  phase: 'held' | 'sent' | 'accepted' | 'streaming' | 'abandoned' | 'ended';
  /** When its agent last said something of it. */
  heardAt: UnixMs;
}

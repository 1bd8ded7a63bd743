import type { FleetError } from '@fleetgate/shared/errors';
import type { RequestId } from '@fleetgate/shared/ids';
import type { TokenChoice } from '@fleetgate/shared/protocol/job';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import type { Choice } from '../request-events.js';
import type { GivenAnswer } from './answer-parts.js';
import type { ParsedRequest } from './schema.js';
import type { Frame } from './sse.js';

/** What a form of answers is opened for. */
export interface AnswerStart {
  readonly id: RequestId;
  readonly at: UnixMs;
  readonly request: ParsedRequest;
}

/** How one API tells answers. `answers` are at least one, in the order of the choices that were asked for. */
export interface ApiForm {
  body(answers: readonly GivenAnswer[]): object;
  frames(): ApiFrames;
  /** What a stream ends with after its last frame. */
  readonly endMark: 'done' | 'none';
}

/** Frames of one streamed answer, or of several (`at`) beside each other. */
export interface ApiFrames {
  /** Before everything else of that answer. */
  begin(at: number, choice: Choice): readonly Frame[];
  /** `choices`: how likely its tokens were, where that was asked for and came with it. */
  text(at: number, text: string, choices?: readonly TokenChoice[]): readonly Frame[];
  /** How likely tokens were that came with no text, or after it. */
  logProbs(at: number, choices: readonly TokenChoice[]): readonly Frame[];
  /** Calls, and why the answer ends. */
  finish(at: number, answer: GivenAnswer): readonly Frame[];
  /** Once, after all have finished. */
  end(answers: readonly GivenAnswer[]): readonly Frame[];
  /** In place of everything that would follow. */
  failed(error: FleetError): readonly Frame[];
}

export type OpenForm = (start: AnswerStart) => ApiForm;

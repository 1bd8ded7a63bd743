import type { FeedbackAnswer, RequestView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import { Body, Controller, HttpCode, Inject, Post } from '@nestjs/common';

import { type Ledger, TERMINAL_STATES } from '../dispatch/ledger.js';
import { GateLearning } from '../gating/gate-learning.js';
import { parseFeedback } from './feedback-request.js';
import { LEDGER } from './request.controller.js';

/** Ratings of answers, which the gate learns from. Who knows the id of a request may rate it. */
@Controller('v1/feedback')
export class FeedbackController {
  constructor(
    @Inject(LEDGER) private readonly ledger: Ledger,
    @Inject(GateLearning) private readonly learning: GateLearning,
  ) {}

  @Post()
  @HttpCode(202)
  async rate(@Body() body: unknown): Promise<FeedbackAnswer> {
    const { requestId, value } = parseFeedback(body);
    const record = await this.ledger.get(requestId);
    if (record === undefined) {
      throw new FleetError('request.not-found', `there is no request ${JSON.stringify(requestId)}`, {
        hint: 'the id is in the x-request-id header of the answer; records are kept for the retention time',
        context: { param: 'request_id' },
      });
    }
    if (!TERMINAL_STATES.has(record.state)) {
      throw new FleetError('request.not-ended', `request ${requestId} is still ${record.state}`, {
        hint: 'rate it when its answer has ended',
        retryable: true,
        context: { param: 'request_id' },
      });
    }
    const rated = record.state === 'succeeded' ? await this.learning.rate(requestId, value) : undefined;
    if (rated === undefined) {
      const why = whyNotRateable(record);
      throw new FleetError('request.not-rateable', `request ${requestId} cannot be rated: ${why}`, {
        hint: 'generated answers can be rated, as long as they are among the newest 20,000',
        context: { param: 'request_id' },
      });
    }
    return { object: 'feedback', request_id: requestId, expert: rated.expert, value, replaced: rated.replaced };
  }
}

function whyNotRateable({ collaboration, state }: RequestView): string {
  if (state !== 'succeeded') return `it ended as ${state}`;
  return collaboration?.how === 'ensemble' ? 'several experts wrote it together' : 'what is needed for it is not kept';
}

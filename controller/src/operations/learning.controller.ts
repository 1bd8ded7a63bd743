import type { LearningView, TrialView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import { expertIdSchema } from '@fleetgate/shared/ids';
import { Controller, Get, HttpCode, Inject, Param, Post } from '@nestjs/common';

import { ExpertTrials } from '../gating/expert-trials.js';
import { trialView } from './learning-view.js';

export const LEARNING = Symbol('learning');

/** What the gate has learned from use, and how experts are enrolled. */
@Controller('api/v1')
export class LearningController {
  constructor(
    @Inject(LEARNING) private readonly view: () => LearningView,
    @Inject(ExpertTrials) private readonly trials: ExpertTrials,
  ) {}

  @Get('gate/learning')
  learning(): LearningView {
    return this.view();
  }

  /** 202: it is scored anew, one labelled prompt at a time, whenever its devices are idle. */
  @Post('experts/:id/enrol')
  @HttpCode(202)
  enrol(@Param('id') id: string): TrialView {
    const name = expertIdSchema.safeParse(id);
    const view = name.success ? this.trials.enrol(name.data) : undefined;
    if (view !== undefined) return trialView(view);
    throw new FleetError('model.unknown', `there is no expert named ${JSON.stringify(id)}`, {
      hint: '`fleetgate experts` lists all',
    });
  }
}

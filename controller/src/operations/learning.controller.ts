import type { LearningView } from '@fleetgate/shared/api/operations';
import { Controller, Get, Inject } from '@nestjs/common';

export const LEARNING = Symbol('learning');

/** What the gate has learned from use. */
@Controller('api/v1')
export class LearningController {
  constructor(@Inject(LEARNING) private readonly view: () => LearningView) {}

  @Get('gate/learning')
  learning(): LearningView {
    return this.view();
  }
}

import type { Clock } from '@fleetgate/shared/clock';
import { Body, Controller, HttpCode, Inject, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';

import { Collaborator } from '../collaboration/collaborator.js';
import { openAiForm } from './answers.js';
import { respond } from './respond.js';
import { parseChat } from './chat-request.js';
import { parseCompletion } from './schema.js';
import { CLOCK } from './tokens.js';

/** Generation, as OpenAI's API has it. */
@Controller('v1')
export class ChatCompletionsController {
  constructor(
    @Inject(Collaborator) readonly collaborator: Collaborator,
    @Inject(CLOCK) readonly clock: Clock,
  ) {}

  @Post('chat/completions')
  @HttpCode(200)
  async chat(@Body() body: unknown, @Res() reply: FastifyReply): Promise<void> {
    await respond(this, parseChat(body), (start) => openAiForm('chat', start), reply);
  }

  @Post('completions')
  @HttpCode(200)
  async complete(@Body() body: unknown, @Res() reply: FastifyReply): Promise<void> {
    await respond(this, parseCompletion(body), (start) => openAiForm('text', start), reply);
  }
}

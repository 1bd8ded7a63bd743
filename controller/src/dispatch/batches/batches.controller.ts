import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

import { callerOf } from '../../access/caller.js';
import { Batches } from './batches.js';

/** Requests that may wait, as OpenAI's API has them. */
@Controller('v1/batches')
export class BatchesController {
  constructor(@Inject(Batches) private readonly batches: Batches) {}

  @Post()
  @HttpCode(200)
  create(@Body() body: unknown, @Req() request: FastifyRequest): Promise<object> {
    return this.batches.addBatch(body, callerOf(request));
  }

  @Get()
  list(@Query() query: unknown, @Req() request: FastifyRequest): Promise<object> {
    return this.batches.batches(query, callerOf(request));
  }

  @Get(':id')
  one(@Param('id') id: string, @Req() request: FastifyRequest): Promise<object> {
    return this.batches.batch(id, callerOf(request));
  }

  @Post(':id/cancel')
  @HttpCode(200)
  cancel(@Param('id') id: string, @Req() request: FastifyRequest): Promise<object> {
    return this.batches.cancel(id, callerOf(request));
  }
}

import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';

import { Batches } from './batches.js';

/** Requests that may wait, as OpenAI's API has them. */
@Controller('v1/batches')
export class BatchesController {
  constructor(@Inject(Batches) private readonly batches: Batches) {}

  @Post()
  @HttpCode(200)
  create(@Body() body: unknown): Promise<object> {
    return this.batches.addBatch(body);
  }

  @Get()
  list(@Query() query: unknown): Promise<object> {
    return this.batches.batches(query);
  }

  @Get(':id')
  one(@Param('id') id: string): Promise<object> {
    return this.batches.batch(id);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  cancel(@Param('id') id: string): Promise<object> {
    return this.batches.cancel(id);
  }
}

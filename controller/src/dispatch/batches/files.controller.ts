import { FleetError } from '@fleetgate/shared/errors';
import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { callerOf } from '../../access/caller.js';
import { Batches } from './batches.js';
import { readUpload } from './upload.js';

/** Files of requests and of their answers, as OpenAI's API has them. */
@Controller('v1/files')
export class FilesController {
  constructor(@Inject(Batches) private readonly batches: Batches) {}

  @Post()
  @HttpCode(200)
  async create(@Req() request: FastifyRequest, @Body() body: unknown): Promise<object> {
    refuseForeignPages(request.headers['sec-fetch-site']);
    return this.batches.addFile(await readUpload(request.headers['content-type'], body), callerOf(request));
  }

  @Get()
  list(@Query() query: unknown, @Req() request: FastifyRequest): Promise<object> {
    return this.batches.files(query, callerOf(request));
  }

  @Get(':id')
  one(@Param('id') id: string, @Req() request: FastifyRequest): Promise<object> {
    return this.batches.file(id, callerOf(request));
  }

  @Get(':id/content')
  async content(@Param('id') id: string, @Res() reply: FastifyReply): Promise<void> {
    const content = await this.batches.content(id, callerOf(reply.request));
    await reply.header('content-type', 'application/jsonl; charset=utf-8').send(content);
  }

  @Delete(':id')
  remove(@Param('id') id: string, @Req() request: FastifyRequest): Promise<object> {
    return this.batches.deleteFile(id, callerOf(request));
  }
}

/** A page of somebody else's may send a form to whatever address it likes; its browser then says that it does. */
function refuseForeignPages(site: unknown): void {
  if (site === undefined || site === 'same-origin' || site === 'none') return;
  throw new FleetError('auth.forbidden', 'files are not taken from pages of other sites');
}

import { FleetError } from '@fleetgate/shared/errors';
import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

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
    return this.batches.addFile(await readUpload(request.headers['content-type'], body));
  }

  @Get()
  list(@Query() query: unknown): Promise<object> {
    return this.batches.files(query);
  }

  @Get(':id')
  one(@Param('id') id: string): Promise<object> {
    return this.batches.file(id);
  }

  @Get(':id/content')
  async content(@Param('id') id: string, @Res() reply: FastifyReply): Promise<void> {
    const content = await this.batches.content(id);
    await reply.header('content-type', 'application/jsonl; charset=utf-8').send(content);
  }

  @Delete(':id')
  remove(@Param('id') id: string): Promise<object> {
    return this.batches.deleteFile(id);
  }
}

/** A page of somebody else's may send a form to whatever address it likes; its browser then says that it does. */
function refuseForeignPages(site: unknown): void {
  if (site === undefined || site === 'same-origin' || site === 'none') return;
  throw new FleetError('auth.forbidden', 'files are not taken from pages of other sites');
}

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';

import type { ExpertAdditionView, ExpertView, ListBody, VariantView } from '@fleetgate/shared/api/operations';
import { sha256Schema } from '@fleetgate/shared/catalogue/expert';
import { check } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { expertIdSchema } from '@fleetgate/shared/ids';
import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';

import { byteRange } from './byte-range.js';
import { ExpertAdditions } from './expert-additions.js';
import { ExpertRegistry } from './expert-registry.js';
import { VariantAdditions, variantRequestSchema } from './variant-additions.js';

const addSchema = z.strictObject({
  source: z.string().min(1).max(2000),
  name: z.string().optional(),
  domains: z.array(z.string().min(1).max(60)).max(32).optional(),
});

@Controller('api/v1')
export class CatalogueController {
  constructor(
    @Inject(ExpertRegistry) private readonly registry: ExpertRegistry,
    @Inject(ExpertAdditions) private readonly additions: ExpertAdditions,
    @Inject(VariantAdditions) private readonly variantAdditions: VariantAdditions,
  ) {}

  @Get('experts')
  experts(): ListBody<ExpertView> {
    return { items: [...this.registry.experts.values()] };
  }

  @Get('experts/:id')
  expert(@Param('id') id: string): ExpertView {
    const name = expertIdSchema.safeParse(id);
    const expert = name.success ? this.registry.experts.get(name.data) : undefined;
    if (expert !== undefined) return expert;
    throw new FleetError('model.unknown', `there is no expert named ${JSON.stringify(id)}`, {
      hint: '`fleetgate experts` lists all',
    });
  }

  /** 202: a download goes on; `addition` below says how it stands. */
  @Post('experts')
  @HttpCode(202)
  add(@Body() body: unknown): Promise<ExpertAdditionView> {
    return this.additions.add(
      check(addSchema, body, 'request.invalid', 'expert', {
        hint: 'send {"source": "hf:org/repo:quantisation", "name": ..., "domains": [...]} as JSON',
      }),
    );
  }

  @Get('experts/:id/addition')
  addition(@Param('id') id: string): ExpertAdditionView {
    const view = this.additions.view(id);
    if (view !== undefined) return view;
    throw new FleetError('model.unknown', `no expert named ${JSON.stringify(id)} is being added`);
  }

  /** A variant made of one of the expert's: another file, another way of serving, or both. */
  @Post('experts/:id/variants')
  addVariant(@Param('id') id: string, @Body() body: unknown): Promise<VariantView> {
    return this.variantAdditions.add(
      id,
      check(variantRequestSchema, body, 'request.invalid', 'variant', {
        hint: 'send {"name", "how", "serving": {"slabBudgetBytes": ...}, "loss": {"domain": bits per byte}} as JSON',
      }),
    );
  }

  @Delete('variants/:id')
  @HttpCode(204)
  removeVariant(@Param('id') id: string): Promise<void> {
    return this.variantAdditions.remove(id);
  }

  @Get('variants')
  variants(): ListBody<VariantView> {
    return { items: [...this.registry.variants.values()] };
  }

  /** A model file, whole or from any byte on: what was fetched half is gone on with. */
  @Get('artefacts/:sha256')
  async artefact(
    @Param('sha256') sha256: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const digest = sha256Schema.safeParse(sha256);
    const path = digest.success ? this.registry.pathOf(digest.data) : undefined;
    if (path === undefined) {
      throw new FleetError('request.not-found', `there is no artefact ${JSON.stringify(sha256)}`);
    }
    const size = await sizeOf(path);
    // The name is the digest: another content would have another name.
    const etag = `"${sha256}"`;
    const { range: asked, 'if-range': condition } = request.headers;
    const range = condition === undefined || condition === etag ? byteRange(asked, size) : 'whole';
    void reply.headers({
      etag,
      'accept-ranges': 'bytes',
      'content-type': 'application/octet-stream',
      'cache-control': 'private, max-age=31536000, immutable',
    });
    if (range === 'unsatisfiable') {
      void reply.status(416).header('content-range', `bytes */${size}`).send();
      return;
    }
    const { start, end } = range === 'whole' ? { start: 0, end: size - 1 } : range;
    if (range !== 'whole') void reply.status(206).header('content-range', `bytes ${start}-${end}/${size}`);
    void reply.header('content-length', end - start + 1);
    await reply.send(request.method === 'HEAD' ? undefined : createReadStream(path, { start, end }));
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    throw new FleetError('artefact.unavailable', 'the file of this artefact is gone from the controller', {
      hint: 'restore it, or restart the controller to take the expert out of the catalogue',
      cause,
    });
  }
}

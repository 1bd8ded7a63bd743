import type { ListBody } from '@fleetgate/shared/api/operations';
import { type SignedRelease, signedReleaseSchema } from '@fleetgate/shared/catalogue/release';
import { check } from '@fleetgate/shared/check';
import { Body, Controller, Get, HttpCode, Inject, Post, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';

import { note } from '../access/caller.js';
import { ReleaseBook } from '../rollout/release-book.js';

/** POST /api/v1/releases */
export const releaseRequestSchema = z.strictObject({
  release: signedReleaseSchema,
  /** File on the controller's machine. */
  source: z.string().min(1).max(2000),
});

/** What was signed for devices to take. */
@Controller('api/v1/releases')
export class ReleaseController {
  constructor(@Inject(ReleaseBook) private readonly releases: ReleaseBook) {}

  @Get()
  list(): ListBody<SignedRelease> {
    return { items: this.releases.list() };
  }

  @Post()
  @HttpCode(201)
  async add(@Body() body: unknown, @Req() request: FastifyRequest): Promise<SignedRelease> {
    const { release, source } = check(releaseRequestSchema, body, 'request.invalid', 'release', {
      hint: '`fleetgate releases sign` makes one',
    });
    await this.releases.add(release, source);
    const { kind, name, sequence, version } = release.manifest;
    note(request, { target: `${kind} ${name} ${sequence}`, after: { version, keyId: release.keyId } });
    return release;
  }
}

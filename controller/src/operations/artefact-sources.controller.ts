import { sha256Schema } from '@fleetgate/shared/catalogue/sha256';
import { FleetError } from '@fleetgate/shared/errors';
import { type ArtefactSources, RANGE_BYTES } from '@fleetgate/shared/protocol/artefact-sources';
import { Controller, Get, Inject, Param } from '@nestjs/common';

import { RangeDigests } from '../catalogue/disk-range-digests.js';
import { ExpertRegistry } from '../catalogue/expert-registry.js';
import { Fleet } from '../fleet/fleet.js';
import { peersWith } from './artefact-peers.js';

@Controller('api/v1')
export class ArtefactSourcesController {
  readonly #digests = new RangeDigests(RANGE_BYTES);

  constructor(
    @Inject(ExpertRegistry) private readonly registry: ExpertRegistry,
    @Inject(Fleet) private readonly fleet: Fleet,
  ) {}

  /** Which devices have an artefact, and by what each range of it is known to be right. */
  @Get('artefacts/:sha256/sources')
  async sources(@Param('sha256') sha256: string): Promise<ArtefactSources> {
    const digest = sha256Schema.safeParse(sha256);
    const path = digest.success ? this.registry.pathOf(digest.data) : undefined;
    if (path === undefined) {
      throw new FleetError('request.not-found', `there is no artefact ${JSON.stringify(sha256)}`);
    }
    const peers = [...peersWith(sha256, this.fleet.snapshot())];
    // Without peers nobody needs them, and reading the file would be in vain.
    const ranges = peers.length === 0 ? [] : [...(await this.#digests.of(sha256, path))];
    return { rangeBytes: RANGE_BYTES, ranges, peers };
  }
}

import { FleetError } from '@fleetgate/shared/errors';
import { Controller, Get, Inject, Param } from '@nestjs/common';

import { listModels, type ModelBody } from './models.js';
import { MODELS_SOURCE, type ModelsSource } from './tokens.js';

/** What may be asked for. */
@Controller('v1/models')
export class ModelsController {
  constructor(@Inject(MODELS_SOURCE) private readonly source: ModelsSource) {}

  @Get()
  list(): { readonly object: 'list'; readonly data: readonly ModelBody[] } {
    return { object: 'list', data: listModels(this.source) };
  }

  @Get(':id')
  get(@Param('id') id: string): ModelBody {
    const model = listModels(this.source).find((one) => one.id === id);
    if (model !== undefined) return model;
    throw new FleetError('model.unknown', `the fleet knows no model ${JSON.stringify(id.slice(0, 80))}`, {
      hint: 'GET /v1/models lists what there is',
      context: { param: 'model' },
    });
  }
}

import type { DynamicModule } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { Batches } from './batches.js';
import { BatchesController } from './batches.controller.js';
import { FilesController } from './files.controller.js';
import { MOST_FORM_BYTES } from './upload.js';

/** Nest wants a class to name a module by. */
class BatchModule {}

/** Files and batches; the application calls `readForms(app)` before `app.init()`, and starts and closes the runner. */
export function batchModule(batches: Batches): DynamicModule {
  return {
    module: BatchModule,
    controllers: [FilesController, BatchesController],
    providers: [{ provide: Batches, useValue: batches }],
  };
}

/** Makes forms be read whole, as they are, up to MOST_FORM_BYTES. */
export function readForms(app: NestFastifyApplication): void {
  app.useBodyParser('multipart/form-data', { bodyLimit: MOST_FORM_BYTES }, (_request, body, done) => done(null, body));
}

import fc from 'fast-check';

// The same cases in every run: a failure is a change's, not chance's. Set FLEETGATE_PROPERTY_SEED to look elsewhere.
fc.configureGlobal({ seed: Number(process.env['FLEETGATE_PROPERTY_SEED'] ?? 20_261_123) });

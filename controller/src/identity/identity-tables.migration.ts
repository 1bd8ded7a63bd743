import type { MigrationInterface, QueryRunner } from 'typeorm';

export class DeviceCertificates1764000020000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE device_certificate (
      serial TEXT PRIMARY KEY NOT NULL,
      deviceId TEXT NOT NULL,
      keySha256 TEXT NOT NULL,
      notAfterMs INTEGER NOT NULL,
      revokedAtMs INTEGER
    )`);
    await runner.query('CREATE INDEX device_certificate_device ON device_certificate (deviceId)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE device_certificate');
  }
}

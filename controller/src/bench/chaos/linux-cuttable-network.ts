import { execFileSync } from 'node:child_process';

const PREFIX_BITS = 30;

/** A network namespace with one link to this machine's own, which can be cut: then everything is lost, in both directions. */
export class CuttableNetwork {
  readonly #name: string;
  /** Address of this machine as seen from within. */
  readonly hostAddress: string;

  /** Undefined where namespaces are not permitted. `name`: at most 12 characters. `subnet`: three numbers of an address. */
  static make(name: string, subnet: string): CuttableNetwork | undefined {
    const network = new CuttableNetwork(name, `${subnet}.1`);
    try {
      network.#make(`${subnet}.2`);
      return network;
    } catch {
      network.remove();
      return undefined;
    }
  }

  private constructor(name: string, hostAddress: string) {
    this.#name = name;
    this.hostAddress = hostAddress;
  }

  /** What a command line has to begin with to be run within. */
  get entry(): readonly string[] {
    return ['ip', 'netns', 'exec', this.#name];
  }

  cut(): void {
    // The inner end: the outer one has the address that everybody else uses.
    ip('-n', this.#name, 'link', 'set', this.#inside, 'down');
  }

  mend(): void {
    ip('-n', this.#name, 'link', 'set', this.#inside, 'up');
  }

  remove(): void {
    for (const command of [
      ['link', 'del', this.#outside],
      ['netns', 'del', this.#name],
    ]) {
      try {
        ip(...command);
      } catch {
        // It was never made.
      }
    }
  }

  get #outside(): string {
    return `${this.#name}-o`;
  }

  get #inside(): string {
    return `${this.#name}-i`;
  }

  #make(insideAddress: string): void {
    const [outside, inside] = [this.#outside, this.#inside];
    ip('netns', 'add', this.#name);
    ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', this.#name);
    ip('addr', 'add', `${this.hostAddress}/${PREFIX_BITS}`, 'dev', outside);
    ip('link', 'set', outside, 'up');
    ip('-n', this.#name, 'addr', 'add', `${insideAddress}/${PREFIX_BITS}`, 'dev', inside);
    ip('-n', this.#name, 'link', 'set', inside, 'up');
    ip('-n', this.#name, 'link', 'set', 'lo', 'up');
  }
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: 'ignore' });
}

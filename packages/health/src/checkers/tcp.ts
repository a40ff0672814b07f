import { connect } from 'node:net';
import { InvalidOptionError } from '@xiaoke/core';
import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';

/** Where to connect to. */
export interface TcpTarget {
  readonly host: string;
  readonly port: number;
}

/** Looks whether something accepts connections. */
export class TcpHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'dependency';
  readonly #target: TcpTarget;

  constructor(target: TcpTarget);
  constructor(name: string, target: TcpTarget);
  constructor(...args: readonly unknown[]) {
    const [name, target] = typeof args[0] === 'string' ? args : ['tcp', args[0]];
    const { host, port } = (target ?? {}) as TcpTarget;
    this.name = name as string;
    if (typeof host !== 'string' || host === '')
      throw new InvalidOptionError('host', 'must be a host name or address');
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new InvalidOptionError('port', 'must be from 1 to 65535');
    this.#target = { host, port };
  }

  check({ signal, phase }: CheckContext): Promise<CheckOutcome> {
    phase('connect');
    return new Promise((resolve) => {
      const socket = connect({ ...this.#target, signal });
      const end = (outcome: CheckOutcome): void => {
        socket.destroy();
        resolve(outcome);
      };
      socket.once('connect', () => end({ status: 'healthy' }));
      socket.on('error', () => end({ status: 'unhealthy', code: 'CONNECT' }));
    });
  }
}

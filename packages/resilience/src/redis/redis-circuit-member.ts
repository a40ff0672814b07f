import type { Clock } from '@xiaoke/core';
import { keyspace, RedisScript, type Keyspace } from '@xiaoke/core/redis';
import type { SharedCircuitMember, SharedCircuitMembership } from '../breaker/shared-circuits.ts';
import { numberAt, type RedisLink } from './redis-link.ts';
import { lookScript, voteClosedScript, voteOpenScript } from './scripts.generated.ts';

/** What all circuits of a group have in common. */
export interface GroupSettings {
  readonly process: string;
  readonly namespace: string;
  readonly quorumMin: number;
  readonly quorumShare: number;
  readonly pollMs: number;
  readonly leaseMs: number;
  readonly clock: Clock;
}

/** Runs work beside the calls. */
export interface WorkRunner {
  run(work: () => Promise<void>, reason: string): void;
}

const look = new RedisScript(lookScript.source);
const voteOpen = new RedisScript(voteOpenScript.source);
const voteClosed = new RedisScript(voteClosedScript.source);

// Nothing of a service that is gone stays for longer.
const KEYS_LAST = 3_600_000;

/**
 * One circuit of this process in its group. What the group decided is read back by `look`, never from a message, so a lost
 * or late message delays and does nothing else.
 */
export class RedisCircuitMember implements SharedCircuitMembership {
  readonly channel: string;
  readonly #member: SharedCircuitMember;
  readonly #link: RedisLink;
  readonly #settings: GroupSettings;
  readonly #runner: WorkRunner;
  readonly #keys: Keyspace;
  #seen = { state: 'closed', generation: -1 };
  #probing = false;
  #looking = false;
  #left = false;

  constructor(member: SharedCircuitMember, link: RedisLink, settings: GroupSettings, runner: WorkRunner) {
    this.#member = member;
    this.#link = link;
    this.#settings = settings;
    this.#runner = runner;
    this.#keys = keyspace(`xr:${settings.namespace}`, member.name);
    this.channel = this.#keys('events');
  }

  opened(openForMs: number): void {
    this.#probing = false;
    this.#runner.run(() => this.#voteOpen(openForMs), 'tell that a circuit opened');
  }

  closed(): void {
    this.#probing = false;
    this.#runner.run(() => this.#voteClosed(), 'tell that a circuit closed');
  }

  /** Looks at the group, once at a time. */
  look(): void {
    if (this.#looking || this.#left) return;
    this.#looking = true;
    this.#runner.run(async () => {
      try {
        await this.#look();
      } finally {
        this.#looking = false;
      }
    }, 'look at a shared circuit');
  }

  leave(): void {
    this.#left = true;
  }

  async #look(): Promise<void> {
    const { process, pollMs, leaseMs } = this.#settings;
    const keys = [this.#keys('members'), this.#keys('state'), this.#keys('probe')];
    const reply = await this.#link.run(look, keys, [process, pollMs * 5, leaseMs, KEYS_LAST]);
    this.#adopt(reply);
    if (numberAt(reply, 3) !== 1) this.#probing = false;
    else if (!this.#probing) this.#probe();
  }

  async #voteOpen(openForMs: number): Promise<void> {
    const { process, pollMs, quorumMin, quorumShare } = this.#settings;
    const keys = [this.#keys('votes'), this.#keys('members'), this.#keys('state'), this.#keys('probe')];
    const vote = [process, Math.ceil(openForMs * 2), Math.ceil(openForMs), quorumMin, quorumShare];
    this.#adopt(await this.#link.run(voteOpen, keys, [...vote, KEYS_LAST, this.channel, pollMs * 5]));
  }

  async #voteClosed(): Promise<void> {
    const keys = [this.#keys('votes'), this.#keys('state'), this.#keys('probe')];
    this.#adopt([
      ...(await this.#link.run(voteClosed, keys, [this.#settings.process, this.channel, KEYS_LAST])),
      0,
    ]);
  }

  #adopt(reply: readonly unknown[]): void {
    const state = String(reply[0]);
    const generation = numberAt(reply, 1);
    if (this.#left || generation === this.#seen.generation) return;
    const before = this.#seen;
    this.#seen = { state, generation };
    if (state === 'open') this.#member.openRemotely(this.#silenceEnds(numberAt(reply, 2)));
    else if (before.state === 'open') this.#member.closeRemotely();
  }

  /** When everybody has fallen silent for so long, the circuit probes on its own account. */
  #silenceEnds(remainingMs: number): number {
    const { pollMs, leaseMs, clock } = this.#settings;
    return clock.monotonic() + remainingMs + leaseMs + pollMs * 3;
  }

  #probe(): void {
    this.#probing = true;
    if (this.#member.probeRemotely()) return;
    // It found out by itself meanwhile, while Redis was away.
    this.closed();
  }
}

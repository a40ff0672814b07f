import { expect, test } from 'vitest';
import {
  createResilienceManager,
  fallback,
  pipeline,
  protectedBy,
  retry,
  retryable,
} from '@xiaoke/resilience';

const manager = createResilienceManager({ policies: { billing: { retry: { attempts: 2, baseDelay: 0 } } } });
const policy = pipeline(fallback('nobody'), retry({ attempts: 2, baseDelay: 0 }));

class Billing {
  runs = 0;

  @retryable({ attempts: 3, baseDelay: 0 })
  async charge(needed: number): Promise<number> {
    this.runs += 1;
    if (this.runs < needed) throw new Error('not yet');
    return this.runs;
  }

  @protectedBy('billing', { manager })
  async refund(needed: number): Promise<string> {
    this.runs += 1;
    if (this.runs < needed) throw new Error('not yet');
    return `after ${this.runs}`;
  }

  @policy.decorate
  static async owner(): Promise<string> {
    throw new Error(this.name);
  }
}

test('with experimentalDecorators, methods are retried, protected by name, and keep this, name and length', async () => {
  expect(await new Billing().charge(3)).toBe(3);
  expect(await new Billing().refund(2)).toBe('after 2');
  expect(await Billing.owner()).toBe('nobody');
  const { charge } = new Billing();
  expect([charge.name, charge.length]).toEqual(['charge', 1]);
  expect(manager.stats().policies['billing']).toMatchObject({ calls: 1, succeeded: 1 });
});

import { expect, test } from 'vitest';
import type { Requirements, RequestType } from '../src/requests/medical-request.ts';
import { triage } from '../src/requests/triage.ts';
import { traffic } from '../src/traffic.ts';

const now = new Date('2026-06-01T00:00:00Z');
const adult = { birthYear: 1980 };
const decide = (type: RequestType, requirements: Requirements = {}, patient = adult): string => {
  const { urgency, resourceType, specialty } = triage(type, requirements, patient, now);
  return `${urgency} ${resourceType} ${specialty}`;
};

test('each type has its usual urgency and resource', () => {
  expect(decide('emergency')).toBe('urgent doctor general');
  expect(decide('consultation')).toBe('normal doctor general');
  expect(decide('checkup')).toBe('routine doctor general');
  expect(decide('imaging')).toBe('normal device ultrasound');
  expect(decide('surgery')).toBe('normal room surgery');
});

test('a wish can raise the urgency, never lower it', () => {
  expect(decide('checkup', { urgency: 'urgent' })).toBe('urgent doctor general');
  expect(decide('emergency', { urgency: 'routine' })).toBe('urgent doctor general');
});

test('a red flag is urgent whatever was asked for', () => {
  expect(decide('follow_up', { symptoms: ['cough', 'Chest Pain'] })).toBe('urgent doctor general');
  expect(decide('follow_up', { symptoms: ['cough'] })).toBe('routine doctor general');
});

test('children see pediatrics, unless another specialty is named or no doctor is needed', () => {
  const child = { birthYear: 2020 };
  expect(decide('checkup', {}, child)).toBe('routine doctor pediatrics');
  expect(decide('checkup', { specialty: 'dermatology' }, child)).toBe('routine doctor dermatology');
  expect(decide('laboratory', {}, child)).toBe('normal device laboratory');
});

test('the traffic of a seed is always the same and mixes every urgency', () => {
  const users = ['a', 'b', 'c'];
  const take = (seed: number): unknown[] => {
    const stream = traffic(users, seed);
    return Array.from({ length: 200 }, () => stream.next().value);
  };
  expect(take(1)).toEqual(take(1));
  expect(take(1)).not.toEqual(take(2));
  const types = new Set(take(1).map((arrival) => (arrival as { type: string }).type));
  expect([...types].sort()).toEqual([
    'checkup',
    'consultation',
    'emergency',
    'follow_up',
    'imaging',
    'laboratory',
    'surgery',
  ]);
});

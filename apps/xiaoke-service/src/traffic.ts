import { REQUEST_TYPES, type Requirements, type RequestType } from './requests/medical-request.ts';

/** One request as a client would send it. */
export interface Arrival {
  readonly userId: string;
  readonly type: RequestType;
  readonly requirements: Requirements;
}

const SYMPTOMS = ['cough', 'fever', 'rash', 'back pain', 'headache', 'dizziness', 'chest pain'] as const;
// Out of twenty: mostly consultations and checkups, now and then an emergency.
const MIX: readonly RequestType[] = [
  'consultation',
  'consultation',
  'consultation',
  'consultation',
  'consultation',
  'checkup',
  'checkup',
  'checkup',
  'follow_up',
  'follow_up',
  'follow_up',
  'laboratory',
  'laboratory',
  'laboratory',
  'imaging',
  'imaging',
  'consultation',
  'checkup',
  'emergency',
  'surgery',
];

/** A stream of realistic requests of `users` users, the same for the same seed. */
export function* traffic(users: readonly string[], seed = 1): Generator<Arrival, never, void> {
  const random = randomNumbers(seed);
  for (;;) {
    const type = MIX[Math.floor(random() * MIX.length)] ?? REQUEST_TYPES[0];
    const symptom = SYMPTOMS[Math.floor(random() * SYMPTOMS.length)] ?? SYMPTOMS[0];
    // A few users come often, most seldom: the square root of a uniform number, turned around.
    const user = users[Math.floor((1 - Math.sqrt(random())) * users.length)] ?? users[0] ?? '';
    const complains = type === 'consultation' || type === 'emergency';
    yield { userId: user, type, requirements: complains ? { symptoms: [symptom] } : {} };
  }
}

// mulberry32, in the public domain: small, and good enough to mix requests.
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

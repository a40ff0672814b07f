import type { ResourceType } from '../database/seed-data.ts';
import type { Requirements, RequestType, Urgency } from './medical-request.ts';

/** What a request needs, as triage sees it. */
export interface Triage {
  readonly urgency: Urgency;
  readonly resourceType: ResourceType;
  readonly specialty: string;
}

/** What a user's age has to do with it. */
export interface Patient {
  readonly birthYear: number;
}

const NEEDS: Readonly<Record<RequestType, Triage>> = {
  emergency: { urgency: 'urgent', resourceType: 'doctor', specialty: 'general' },
  surgery: { urgency: 'normal', resourceType: 'room', specialty: 'surgery' },
  imaging: { urgency: 'normal', resourceType: 'device', specialty: 'ultrasound' },
  laboratory: { urgency: 'normal', resourceType: 'device', specialty: 'laboratory' },
  consultation: { urgency: 'normal', resourceType: 'doctor', specialty: 'general' },
  checkup: { urgency: 'routine', resourceType: 'doctor', specialty: 'general' },
  follow_up: { urgency: 'routine', resourceType: 'doctor', specialty: 'general' },
};

const RED_FLAGS: ReadonlySet<string> = new Set([
  'chest pain',
  'shortness of breath',
  'unconscious',
  'severe bleeding',
  'stroke',
]);
const ADULT_AGE = 14;

/**
 * Decides how soon and with what. A stated urgency can raise but never lower what the type asks for, red-flag symptoms are
 * always urgent, and children see pediatrics unless another specialty is named.
 */
export function triage(type: RequestType, requirements: Requirements, patient: Patient, now: Date): Triage {
  const needs = NEEDS[type];
  const child = now.getUTCFullYear() - patient.birthYear < ADULT_AGE;
  const usual = child && needs.resourceType === 'doctor' ? 'pediatrics' : needs.specialty;
  return {
    ...needs,
    urgency: urgencyOf(needs.urgency, requirements),
    specialty: requirements.specialty ?? usual,
  };
}

const RANK: Readonly<Record<Urgency, number>> = { urgent: 2, normal: 1, routine: 0 };

function urgencyOf(usual: Urgency, { urgency = usual, symptoms = [] }: Requirements): Urgency {
  if (symptoms.some((symptom) => RED_FLAGS.has(symptom.toLowerCase()))) return 'urgent';
  return RANK[urgency] > RANK[usual] ? urgency : usual;
}

/** How soon somebody must be seen. */
export type Urgency = 'urgent' | 'normal' | 'routine';

/** What can be asked for. */
export const REQUEST_TYPES = [
  'consultation',
  'emergency',
  'checkup',
  'imaging',
  'laboratory',
  'surgery',
  'follow_up',
] as const;

export type RequestType = (typeof REQUEST_TYPES)[number];

/**
 * Where a request is: `accepted` waits for a worker, `deferred` waits for the service to leave degraded mode, the others
 * are its ends.
 */
export type RequestState = 'accepted' | 'deferred' | 'completed' | 'waitlisted' | 'failed';

/** What somebody wants beside the type. */
export interface Requirements {
  readonly specialty?: string;
  readonly urgency?: Urgency;
  readonly symptoms?: readonly string[];
  readonly notBefore?: string;
}

/** A request as it is stored. */
export interface MedicalRequest {
  readonly id: string;
  readonly userId: string;
  readonly type: RequestType;
  readonly requirements: Requirements;
  readonly urgency: Urgency;
  readonly state: RequestState;
  readonly result: RequestResult | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** How a request ended. */
export type RequestResult =
  | { readonly outcome: 'booked'; readonly slot: BookedSlot }
  | { readonly outcome: 'waitlisted'; readonly reason: string }
  | { readonly outcome: 'failed'; readonly reason: string };

/** A slot that is somebody's. */
export interface BookedSlot {
  readonly slotId: string;
  readonly resourceId: string;
  readonly resourceName: string;
  readonly startsAt: string;
  readonly endsAt: string;
}

-- Users, the resources they are treated with, and the requests that bring the two together.
CREATE TABLE users (
  id text PRIMARY KEY,
  name text NOT NULL,
  role text NOT NULL CHECK (role IN ('patient', 'caregiver', 'clinician')),
  birth_year integer NOT NULL CHECK (birth_year BETWEEN 1900 AND 2100),
  last_seen_at timestamptz
);

CREATE TABLE resources (
  id text PRIMARY KEY,
  type text NOT NULL CHECK (type IN ('doctor', 'room', 'device')),
  specialty text NOT NULL,
  name text NOT NULL
);
CREATE INDEX resources_by_type ON resources (type, specialty);

CREATE TABLE slots (
  id text PRIMARY KEY,
  resource_id text NOT NULL REFERENCES resources (id),
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
  UNIQUE (resource_id, starts_at)
);
CREATE INDEX slots_by_start ON slots (starts_at);

CREATE TABLE medical_requests (
  id text PRIMARY KEY,
  user_id text NOT NULL REFERENCES users (id),
  type text NOT NULL,
  requirements jsonb NOT NULL DEFAULT '{}',
  urgency text NOT NULL CHECK (urgency IN ('urgent', 'normal', 'routine')),
  state text NOT NULL CHECK (state IN ('accepted', 'deferred', 'completed', 'waitlisted', 'failed')),
  result jsonb,
  idempotency_key text,
  -- What the first request with this key asked for; another body under the same key is a mistake.
  idempotency_hash text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (user_id, idempotency_key)
);
CREATE INDEX medical_requests_open ON medical_requests (created_at) WHERE state IN ('accepted', 'deferred');
CREATE INDEX medical_requests_by_user ON medical_requests (user_id, created_at DESC);

-- The two UNIQUE constraints are what the locks are backed by: a slot is booked once, and a request books once.
CREATE TABLE bookings (
  slot_id text PRIMARY KEY REFERENCES slots (id),
  holder text NOT NULL UNIQUE,
  user_id text NOT NULL REFERENCES users (id),
  booked_at timestamptz NOT NULL DEFAULT now()
);

import { encodeWriteRequest, type WriteSample } from '../../src/push/write-request.ts';
import { snappyCompress } from '../../src/push/snappy.ts';

/** Gives samples to a Prometheus that has its remote write receiver on. */
export async function remoteWriteTo(url: string, samples: readonly WriteSample[]): Promise<void> {
  const response = await fetch(`${url}/api/v1/write`, {
    method: 'POST',
    headers: {
      'content-encoding': 'snappy',
      'content-type': 'application/x-protobuf',
      'x-prometheus-remote-write-version': '0.1.0',
    },
    body: snappyCompress(encodeWriteRequest(samples)),
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
}

/** The `data` of an API answer; throws what it says otherwise. */
export async function api<T>(url: string, path: string, parameters: Record<string, string>): Promise<T> {
  const response = await fetch(`${url}/api/v1/${path}?${String(new URLSearchParams(parameters))}`);
  const body = (await response.json()) as { status: string; data: T; error?: string };
  if (body.status !== 'success') throw new Error(`${parameters['query'] ?? path}: ${body.error ?? ''}`);
  return body.data;
}

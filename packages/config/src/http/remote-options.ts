import type { Duration } from '@xiaoke/core';
import type { ConfigFormat } from '../format.ts';

/** Headers of a request, or a function that gives fresh ones each time. */
export type RemoteHeaders =
  | Readonly<Record<string, string>>
  | (() => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>);

/** How the remote source is asked. */
export interface RemoteSourceOptions {
  /** How often, with a jitter of 10 %. @default '60s' */
  readonly pollInterval?: Duration;
  /** Sent to this origin only. */
  readonly headers?: RemoteHeaders;
  /** By default told by the URL's extension, else the content type, else JSON. */
  readonly format?: ConfigFormat;
  /** Limits one request, body included. @default '5s' */
  readonly timeout?: Duration;
  /** Whether a start without the server, and without a copy of its document, goes on. @default false */
  readonly optional?: boolean;
  /**
   * The variables that `${NAME}` may read in this document, or `true` for all. By default none is expanded: whoever writes
   * the document could read every variable of the process into a value that is shown.
   */
  readonly interpolate?: boolean | readonly string[];
}

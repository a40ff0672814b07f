import { XiaokeError } from '@xiaoke/core';

/** An error that a client of the service is told about: its HTTP status and its code. */
export class ServiceError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.ServiceError';
  readonly statusCode: number;

  constructor(
    statusCode: number,
    code: string,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
  ) {
    super(code, message, { details });
    this.statusCode = statusCode;
  }
}

/** 404. */
export function notFound(what: string, id: string): ServiceError {
  return new ServiceError(404, 'NOT_FOUND', `There is no ${what} "${id}"`, { what, id });
}

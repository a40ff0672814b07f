/** How a file is watched. */
export interface FileSourceOptions {
  /** @default true */
  readonly watch?: boolean;
  /** Whether the file may be missing, now and later. @default false */
  readonly optional?: boolean;
}

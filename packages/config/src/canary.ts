/** Controls the canary. */
export interface CanaryControl {
  close(): Promise<void>;
}

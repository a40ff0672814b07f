/** Distributed locks that tell the truth: fencing tokens, local lease deadlines, deadlock detection. */
export {};

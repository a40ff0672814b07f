import type { QueueManager } from '@xiaoke/queue';
import type { Intake, Tasks } from './intake.ts';
import type { Processing } from './processing.ts';
import type { RequestStore } from './request-store.ts';

const PAGE = 200;

/**
 * Puts every stored request that has not ended into the queue: after a crash between storing and enqueueing, or after a
 * restart with a queue that lives in memory. A request whose task is there already stays as it is, since the task has the
 * request's id; one whose task is a dead letter has failed.
 */
export async function putBack(parts: {
  readonly store: RequestStore;
  readonly intake: Intake;
  readonly queue: QueueManager<Tasks>;
  readonly processing: Processing;
}): Promise<number> {
  const { store, intake, queue, processing } = parts;
  let count = 0;
  let after = '';
  for (;;) {
    const page = await store.listOpen(PAGE, after);
    for (const request of page) {
      const task = await queue.getTask(request.id);
      if (task?.state === 'dead') await processing.giveUp(request.id, task.reason ?? 'dead');
      else await intake.enqueue(request);
      after = request.id;
    }
    count += page.length;
    if (page.length < PAGE) return count;
  }
}

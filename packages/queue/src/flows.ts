import { InvalidOptionError } from '@xiaoke/core';
import type { NewTask, StoredTask } from './backend.ts';
import { decodeEnvelope, type EnvelopeExtras } from './envelope.ts';
import { checkName, type TaskOptions } from './task-options.ts';
import type { Task } from './task.ts';

/** A task that waits for its children. */
export interface FlowNode {
  readonly name: string;
  readonly payload: unknown;
  readonly options?: TaskOptions;
  readonly children?: readonly FlowNode[];
  /** What becomes of the parent when this task does not complete: it dies too, or goes on without it. @default 'fail' */
  readonly onFailure?: 'fail' | 'ignore';
}

/** A task of a flow with the handles of its children. */
export interface FlowTask extends Task {
  readonly children: readonly FlowTask[];
}

/** A node with its task. */
export interface PlannedNode {
  readonly task: NewTask;
  /** Its id was chosen by the user. */
  readonly named: boolean;
  readonly children: readonly PlannedNode[];
}

const MAX_NODES = 10_000;

/** Gives every node an id and its links, parents before children. Nothing is sent yet. */
export async function planFlow(
  root: FlowNode,
  newId: (options: TaskOptions | undefined) => string,
  prepare: (name: string, payload: unknown, options: TaskOptions, extras: EnvelopeExtras) => Promise<NewTask>,
): Promise<PlannedNode> {
  let nodes = 0;
  const plan = async (
    node: FlowNode,
    id: string,
    parent: EnvelopeExtras['parent'],
    path: string,
  ): Promise<PlannedNode> => {
    nodes += 1;
    if (nodes > MAX_NODES) throw new InvalidOptionError('flow', `must have at most ${MAX_NODES} tasks`);
    const children = node.children ?? [];
    const ids = children.map((child) => child.options?.id ?? newId(child.options));
    const task = await prepare(
      node.name,
      node.payload,
      { ...node.options, id },
      { parent, children: ids.length === 0 ? undefined : ids },
    );
    // A duplicate would stand for another task, which tells this parent nothing: it would wait for ever.
    if (parent !== undefined && task.unique !== undefined)
      throw new InvalidOptionError(`${path}.options.unique`, 'cannot be given for a child');
    const planned = [];
    for (const [index, child] of children.entries()) {
      const onFailure = checkOnFailure(child.onFailure, `${path}.children[${index}].onFailure`);
      const childId = checkName(ids[index], `${path}.children[${index}].options.id`);
      planned.push(await plan(child, childId, { id, onFailure }, `${path}.children[${index}]`));
    }
    return { task, named: node.options?.id !== undefined, children: planned };
  };
  return await plan(root, root.options?.id ?? newId(root.options), undefined, 'flow');
}

/** Steps that run one after the other, as a flow: each is the only child of the next. */
export function chainToFlow(steps: readonly Omit<FlowNode, 'children'>[]): FlowNode {
  const [first, ...rest] = steps;
  if (first === undefined) throw new InvalidOptionError('steps', 'must not be empty');
  return rest.reduce<FlowNode>((flow, step) => ({ ...step, children: [flow] }), first);
}

/** All tasks of a plan, parents first: a child that is done must find its parent. */
export function flatten(root: PlannedNode): NewTask[] {
  const tasks: NewTask[] = [];
  let level: readonly PlannedNode[] = [root];
  while (level.length > 0) {
    tasks.push(...level.map((node) => node.task));
    level = level.flatMap((node) => node.children);
  }
  return tasks;
}

/**
 * A child that exists without this parent never tells it anything, so the parent would wait for ever.
 *
 * @throws InvalidOptionError `flow`
 */
export async function refuseForeignChildren(
  root: PlannedNode,
  read: (ids: readonly string[]) => Promise<readonly (StoredTask | undefined)[]>,
): Promise<void> {
  const parents = new Map<string, string | undefined>();
  let level: readonly PlannedNode[] = root.children;
  while (level.length > 0) {
    for (const { task, named } of level) if (named) parents.set(task.id, task.parent?.id);
    level = level.flatMap((node) => node.children);
  }
  if (parents.size === 0) return;
  for (const stored of await read([...parents.keys()])) {
    if (stored === undefined || decodeEnvelope(stored.blob).parent?.id === parents.get(stored.id)) continue;
    throw new InvalidOptionError('flow', 'names a child that is there already, without this parent', {
      details: { id: stored.id },
    });
  }
}

function checkOnFailure(value: unknown, path: string): 'fail' | 'ignore' {
  if (value === undefined || value === 'fail') return 'fail';
  if (value === 'ignore') return 'ignore';
  throw new InvalidOptionError(path, "must be 'fail' or 'ignore'");
}

/** The error of a parent whose child is dead. */
export function childFailure(childId: string): string {
  return JSON.stringify({
    name: 'QueueError',
    code: 'CHILD_FAILED',
    message: `The child ${childId} did not complete`,
    reason: 'CHILD_FAILED',
  });
}

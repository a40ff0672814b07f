import { basicScenarios } from './scenarios-basic.ts';
import { controlScenarios } from './scenarios-control.ts';
import { endingScenarios } from './scenarios-endings.ts';
import { flowScenarios } from './scenarios-flow.ts';
import { orderScenarios } from './scenarios-order.ts';
import { workerScenarios } from './scenarios-workers.ts';
import type { ConformanceScenario } from './scenario.ts';

/** Every scenario that a backend has to pass. */
export const conformanceScenarios: readonly ConformanceScenario[] = [
  ...basicScenarios,
  ...controlScenarios,
  ...orderScenarios,
  ...endingScenarios,
  ...flowScenarios,
  ...workerScenarios,
];

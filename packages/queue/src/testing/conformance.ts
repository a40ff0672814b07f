import { basicScenarios } from './scenarios-basic.ts';
import { controlScenarios } from './scenarios-control.ts';
import { orderScenarios } from './scenarios-order.ts';
import type { ConformanceScenario } from './scenario.ts';

/** Every scenario that a backend has to pass. */
export const conformanceScenarios: readonly ConformanceScenario[] = [
  ...basicScenarios,
  ...controlScenarios,
  ...orderScenarios,
];

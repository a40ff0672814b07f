/**
 * For tests of code that depends on health: a checker whose result is set by hand, and a simulation of how a balancer spreads
 * requests over nodes that fail, slow down and recover.
 *
 * @module
 */
export { ManualHealthChecker } from '../checkers/process.ts';
export {
  balancerRouter,
  seededRandom,
  simulateRouting,
  type NodeModel,
  type Router,
  type RoutingResult,
  type RoutingScenario,
  type SimulatedWorld,
} from './routing-simulation.ts';

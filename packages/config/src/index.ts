/**
 * Hot configuration that is never half applied and never lost: files, remote, Redis, versions, rollback.
 *
 * Terms: a *source* gives documents; a *layer* is what one source contributes, in the order of precedence; a *snapshot*
 * is one frozen, consistent configuration; a *version* is one commit of run-time values; a *head* is what the store
 * holds now; a *guard* may veto an update; a *canary* tries a commit on some instances first.
 *
 * @module
 */
export { createConfigManager, getConfigManager } from './create.ts';
export type { ConfigListener, ConfigManager, ConfigRef, SubscribeOptions } from './manager.ts';
export type { ConfigManagerOptions } from './options.ts';
export type { EnvMapping, EnvMappingOptions, EnvVariables } from './env-mapping.ts';
export { ConfigFormat } from './format.ts';
export type { FileSourceOptions } from './file/file-slots.ts';
export type { RemoteHeaders, RemoteSourceOptions } from './http/remote-options.ts';
export type { ConfigSource, SourceProblem } from './source.ts';
export type { ListMerge } from './merge.ts';
export type { LayerKind } from './layer.ts';
export type { Path, PathValue } from './typed-path.ts';
export type { PathInput } from './path.ts';
export type { ChangeCause, ConfigChange } from './change.ts';
export type { Change } from './diff.ts';
export type { ChangeCallback, PathCallback } from './subscriptions.ts';
export type { Guard, GuardContext } from './guards.ts';
export type { CanaryEvent, ConfigEvents, Regression, RejectedUpdate } from './events.ts';
export type { ExplainedLayer, Explanation } from './explain.ts';
export type { VersionInfo } from './history.ts';
export type { Transaction, WriteOptions } from './runtime-control.ts';
export type { ConfigState, ConfigStats, SourceStatus } from './status.ts';
export type { CanaryControl, CanaryEdits, CanaryInfo, CanaryOptions } from './canary.ts';
export { createAdminHandler, type AdminAction, type AdminHandler, type AdminOptions } from './admin.ts';
export { MemoryConfigStore } from './memory/memory-store.ts';
export type {
  CanaryReport,
  CommitKind,
  CommitOutcome,
  CommitRequest,
  ConfigStore,
  StoredCanary,
  StoredVersion,
  StoreHead,
  StoreListener,
  StoreNews,
  VersionMeta,
} from './store.ts';
export {
  CanaryError,
  ConfigClosedError,
  ConfigError,
  ConfigInvalidError,
  ConfigKeyError,
  ConfigParseError,
  ConfigSourceError,
  ConflictError,
  GuardVetoError,
  ShadowedError,
  StoreUnavailableError,
  VersionNotFoundError,
  type ConfigErrorCode,
  type ConfigIssue,
  type Position,
} from './errors.ts';

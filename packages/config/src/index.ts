/** Hot configuration that is never half applied and never lost: files, remote, Redis, versions, rollback. */
export {};

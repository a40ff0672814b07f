-- Writes an instance down, or changes it.
-- KEYS and ARGV 1-2: include/service.lua. ARGV: 3 id, 4 owner, 5 lease in ms, 6 body.
-- Returns the version of the service.
-- Safe to repeat: the same body by the same owner only renews the lease, and nobody is told.
-- @include service
sweep()
local id, owner, body = ARGV[3], ARGV[4], ARGV[6]
redis.call('ZADD', t, ms + ARGV[5], id)
redis.call('ZREM', l, id)
if redis.call('HGET', o, id) == owner and redis.call('HGET', i, id) == body then
  return redis.call('HGET', m, 'v') or '0'
end
redis.call('HSET', i, id, body)
redis.call('HSET', o, id, owner)
return bump('put', id, body)

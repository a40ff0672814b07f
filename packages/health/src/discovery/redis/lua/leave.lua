-- Takes an instance out that says goodbye, if the owner still has it.
-- KEYS and ARGV 1-2: include/service.lua. ARGV: 3 id, 4 owner, 5 how long a goodbye is remembered, in ms.
-- Returns how many instances are left, or -1 if there was nothing to take out.
-- Safe to repeat: the second time the owner has it no more.
-- @include service
sweep()
local id = ARGV[3]
if redis.call('HGET', o, id) ~= ARGV[4] then
  return -1
end
redis.call('HDEL', i, id)
redis.call('HDEL', o, id)
redis.call('ZREM', t, id)
redis.call('ZADD', l, ms, id)
redis.call('ZREMRANGEBYSCORE', l, '-inf', ms - ARGV[5])
redis.call('PEXPIRE', l, ARGV[5])
bump('leave', id, '')
return redis.call('ZCARD', t)

-- The state of a service, without its content for somebody who knows it.
-- KEYS and ARGV 1-2: include/service.lua. ARGV: 3 the epoch and 4 the version that the asker knows.
-- Returns { epoch, version, ms until the next lease can end or -1 } and, unless it is known, { id, body, ... } and
-- { ids that said goodbye }. Safe to repeat: it changes nothing but to take out what has ended.
-- @include service
sweep()
local e = redis.call('HGET', m, 'e') or ''
local v = redis.call('HGET', m, 'v') or '0'
if e ~= '' then
  redis.call('PEXPIRE', m, KEEP)
end
local first = redis.call('ZRANGE', t, 0, 0, 'WITHSCORES')
local wait = first[2] and math.max(0, first[2] - ms) or -1
if e == ARGV[3] and v == ARGV[4] then
  return { e, v, wait }
end
return { e, v, wait, redis.call('HGETALL', i), redis.call('ZRANGE', l, 0, -1) }

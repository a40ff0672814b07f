-- The names of the services that have instances; those of ARGV are noted as such for another lease.
-- KEYS: 1 service -> until when it is listed. ARGV: 1 lease in ms, 2... names, may be none.
-- Returns every name. Safe to repeat: it only sets ends that are counted from now.
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
for n = 2, #ARGV do
  redis.call('ZADD', KEYS[1], ms + ARGV[1], ARGV[n])
end
return redis.call('ZRANGE', KEYS[1], 0, -1)

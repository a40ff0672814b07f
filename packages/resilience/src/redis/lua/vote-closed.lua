-- A process says that its circuit closed. If it is the one that probes for the group, the group closes.
-- KEYS[1] votes   KEYS[2] state hash   KEYS[3] the lease of the one that probes
-- ARGV[1] process   ARGV[2] channel   ARGV[3] keys last, ms
-- returns { state, generation }
-- Safe to repeat: a vote that is gone is gone, and a group that is closed is not closed again.
redis.call('ZREM', KEYS[1], ARGV[1])
local state = redis.call('HGET', KEYS[2], 'state') or 'closed'
local generation = tonumber(redis.call('HGET', KEYS[2], 'generation') or '0')
if state == 'open' and redis.call('GET', KEYS[3]) == ARGV[1] then
  generation = generation + 1
  redis.call('HSET', KEYS[2], 'state', 'closed', 'generation', generation, 'until', '0')
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('DEL', KEYS[1], KEYS[3])
  redis.call('PUBLISH', ARGV[2], generation)
  state = 'closed'
end
return { state, generation }

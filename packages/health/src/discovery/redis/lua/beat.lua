-- Renews a lease. KEYS: 1 o id -> owner, 2 t id -> end of its lease. ARGV: 1 id, 2 owner, 3 lease in ms.
-- Returns 1 if it is renewed, 0 if the id is not known (any more), 2 if somebody else has it.
-- Safe to repeat: it only sets an end that is counted from now. It tells nobody, and costs no version.
local owner = redis.call('HGET', KEYS[1], ARGV[1])
if not owner then
  return 0
end
if owner ~= ARGV[2] then
  return 2
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], ARGV[1])
return 1

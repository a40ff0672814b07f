-- Exclusive to shared, without a moment in between; readers who wait at the head of the queue come in.
-- KEYS: x, s, h, q, w, t. ARGV: 1 to 3 as in include/state.lua, 4 id, 5 lease, 6 owner. Returns 1, or 0 when not held.
-- Safe to repeat: a hold that is shared already stays so. Also ends an upgrade that its caller has given up.
-- @include state
local id = ARGV[4]
local value = sweep()
local how = holds(id, value)
dequeue(id)
if how == 'exclusive' then
  local token = tonumber(string.match(value, '^[^|]+|(%d+)'))
  redis.call('DEL', x)
  takeShared(id, tonumber(ARGV[5]), token, 0, ARGV[6], math.min(ms, math.floor(token / 1000)))
end
pump('')
return how and 1 or 0

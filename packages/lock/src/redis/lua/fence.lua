-- Runs commands for the holder of a lock, unless a newer holder was there.
-- KEYS: 1 where the largest token is remembered, then the key of each command.
-- ARGV: 1 token, then for each command its name, the number of its other arguments, and those.
-- Returns {1, {reply, ...}}, or {0, the larger token} and nothing was done.
-- Safe to repeat as far as the commands are: an equal token is let through.
local seen = redis.call('GET', KEYS[1])
if seen and tonumber(seen) > tonumber(ARGV[1]) then
  return { 0, seen }
end
redis.call('SET', KEYS[1], ARGV[1])
local replies = {}
local at = 2
for index = 2, #KEYS do
  local count = tonumber(ARGV[at + 1])
  local reply = redis.call(ARGV[at], KEYS[index], unpack(ARGV, at + 2, at + 1 + count))
  replies[#replies + 1] = reply
  at = at + 2 + count
end
return { 1, replies }

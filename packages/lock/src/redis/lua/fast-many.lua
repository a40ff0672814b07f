-- fast.lua for many locks at once.
-- KEYS: t, then x and q of each. ARGV: 1 life of the fence in ms or 0, then id, lease, block and owner of each.
-- Returns for each the first token, or 0 when it is not free.
-- Safe to repeat: as fast.lua.
local clock = redis.call('TIME')
local us = clock[1] * 1000000 + clock[2]
local last = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), us)
local tokens = {}
for index = 1, (#KEYS - 1) / 2 do
  local x, at = KEYS[2 * index], 4 * index - 2
  if redis.call('EXISTS', x, KEYS[2 * index + 1]) ~= 0 then
    tokens[index] = 0
  else
    tokens[index] = last + 1
    last = last + ARGV[at + 2]
    redis.call('SET', x, string.format('%s|%.0f|%s', ARGV[at], tokens[index], ARGV[at + 3]), 'PX', ARGV[at + 1])
  end
end
if ARGV[1] == '0' then
  redis.call('SET', KEYS[1], last)
else
  redis.call('SET', KEYS[1], last, 'PX', ARGV[1])
end
return tokens

-- Takes a free lock nobody queues for, exclusively: the whole of an uncontended acquisition.
-- KEYS: x, q, t (as in include/state.lua). ARGV: 1 id, 2 lease, 3 block, 4 owner, 5 life of the fence in ms, 0 for ever.
-- Returns the first token, or 0 when it is not free (or is already this id's own).
-- Safe to repeat: a second run finds the first one's hold and returns 0; acquire.lua then recognises the id.
if redis.call('EXISTS', KEYS[1], KEYS[2]) ~= 0 then
  return 0
end
local clock = redis.call('TIME')
local us = clock[1] * 1000000 + clock[2]
local last = tonumber(redis.call('GET', KEYS[3]) or 0)
local first = (last > us and last or us) + 1
-- Redis writes a number of Lua with 17 digits, so these are exact; only Lua's own `..` would not be.
if ARGV[5] == '0' then
  redis.call('SET', KEYS[3], first + ARGV[3] - 1)
else
  redis.call('SET', KEYS[3], first + ARGV[3] - 1, 'PX', ARGV[5])
end
redis.call('SET', KEYS[1], string.format('%s|%.0f|%s', ARGV[1], first, ARGV[4]), 'PX', ARGV[2])
return first

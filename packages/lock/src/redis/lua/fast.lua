-- Takes a free lock nobody queues for, exclusively: the whole of an uncontended acquisition.
-- KEYS: x, q, t (as in include/state.lua). ARGV: 1 id, 2 lease, 3 block, 4 owner, 5 life of the fence in ms, 0 for ever.
-- Returns the first token, or 0 when it is not free (or is already this id's own).
-- Safe to repeat: a second run finds the first one's hold and returns 0; acquire.lua then recognises the id.
if redis.call('EXISTS', KEYS[1], KEYS[2]) ~= 0 then
  return 0
end
local clock = redis.call('TIME')
local first = clock[1] * 1000000 + clock[2] + 1
-- Redis writes a number of Lua with 17 digits, so these are exact; only Lua's own `..` would not be.
local function fence(last)
  if ARGV[5] == '0' then
    return redis.call('SET', KEYS[3], last, 'GET')
  end
  return redis.call('SET', KEYS[3], last, 'PX', ARGV[5], 'GET')
end
-- One command in place of two: only where the counter is ahead of the clock does it have to be written again.
local before = fence(first + ARGV[3] - 1)
if before and tonumber(before) >= first then
  first = before + 1
  fence(first + ARGV[3] - 1)
end
redis.call('SET', KEYS[1], string.format('%s|%.0f|%s', ARGV[1], first, ARGV[4]), 'PX', ARGV[2])
return first

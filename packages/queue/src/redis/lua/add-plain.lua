-- Enqueues tasks of one queue that are due at once, of one priority, without unique keys, groups and children: most of them.
-- KEYS: the first 14 of base.lua
-- ARGV: 1 queue, 2 priority; then id and blob of each
-- returns: 1, or 0 when an id is there already or comes twice: then nothing was done, and add.lua has to tell them apart
-- Safe to repeat: whatever was added is there already.
-- @include base

local n, ids = (#ARGV - 2) / 2, {}
for i = 1, n do ids[i] = ARGV[2 * i + 1] end
local existing = call('HMGET', JOBS, unpack(ids))
for i = 1, n do
  if existing[i] then return 0 end
end
if call('HSET', JOBS, unpack(ARGV, 3)) < n then
  call('HDEL', JOBS, unpack(ids))
  return 0
end
call('LPUSH', W[ARGV[2] + 1], unpack(ids))
call('ZADD', MK, '0', '0')
call('HINCRBY', ST, 'e:' .. ARGV[1], n)
return 1

-- Enqueues tasks of one queue that are due at once, of one priority, without unique keys, groups and children: most of them.
-- KEYS: the first 14 of base.lua
-- ARGV: 1 queue, 2 priority; then id and blob of each
-- returns: as add.lua
-- Safe to repeat: as add.lua is.
-- @include base

local n, ids = (#ARGV - 2) / 2, {}
for i = 1, n do ids[i] = ARGV[2 * i + 1] end

local function push(list)
  call('LPUSH', W[ARGV[2] + 1], unpack(list))
  call('ZADD', MK, '0', '0')
  call('HINCRBY', ST, 'e:' .. ARGV[1], #list)
end

local existing, known = call('HMGET', JOBS, unpack(ids)), false
for i = 1, n do known = known or existing[i] end
if not known then
  if call('HSET', JOBS, unpack(ARGV, 3)) == n then
    push(ids)
    return {}
  end
  -- An id comes twice.
  call('HDEL', JOBS, unpack(ids))
end
local reply, seen, blobs, list = {}, {}, {}, {}
for i = 1, n do
  local id, blob = ids[i], ARGV[2 * i + 2]
  if seen[id] or existing[i] then
    reply[i] = existing[i] == blob and not seen[id] and '' or id
  else
    reply[i] = ''
    seen[id] = true
    list[#list + 1] = id
    blobs[#blobs + 1] = id
    blobs[#blobs + 1] = blob
  end
end
if #list > 0 then
  call('HSET', JOBS, unpack(blobs))
  push(list)
end
return reply

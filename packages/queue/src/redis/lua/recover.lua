-- Puts back what lost workers held, at the head of its list, with a stall and an attempt counted; ends what was to be cancelled.
-- KEYS: those of base.lua
-- ARGV: 1 channel for ended ids; ids that may be held by lost workers
-- returns: the ids that were put back
-- Safe to repeat: only a claim whose worker has no lease is taken, and it is gone with that.
-- @include base
-- @include links
local now = clock()
local back, lists = {}, { {}, {}, {} }
for i = 2, #ARGV do
  local id = ARGV[i]
  local own = call('HGET', OWN, id)
  if own then
    local worker, prio, a, s = string.match(own, '^%d+|([^|]*)|(%d)|%d+|(%d+)|(%d+)')
    local lease = call('ZSCORE', WL, worker)
    if (not lease or tonumber(lease) <= now) and not end_if_cancelled(id, own, now, ARGV[1]) then
      local before = call('HGET', ATT, id)
      local err = before and string.match(before, '^%d+|%d+|(.*)$') or ''
      call('HSET', ATT, id, (a + 1) .. '|' .. (s + 1) .. '|' .. err)
      call('HDEL', OWN, id)
      local list = lists[prio + 1]
      list[#list + 1] = id
      back[#back + 1] = id
    end
  end
end
for p = 1, 3 do
  if #lists[p] > 0 then call('RPUSH', W[p], unpack(lists[p])) end
end
if #back > 0 then call('ZADD', MK, 0, '0') end
return back

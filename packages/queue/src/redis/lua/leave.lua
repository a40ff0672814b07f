-- Takes a worker off: what it still holds in one queue goes back to the head of its list, and no attempt is counted.
-- KEYS: the first 14 of base.lua
-- ARGV: 1 worker, 2 queue; ids it may hold
-- returns: how many went back
-- Safe to repeat: only its own claims are moved.
-- @include base
local worker, count = ARGV[1], 0
for i = 3, #ARGV do
  local own = call('HGET', OWN, ARGV[i])
  if own then
    local by, prio = string.match(own, '^%d+|([^|]*)|(%d)')
    if by == worker then
      call('HDEL', OWN, ARGV[i])
      call('RPUSH', W[prio + 1], ARGV[i])
      count = count + 1
    end
  end
end
if count > 0 then call('ZADD', MK, 0, '0') end
call('HDEL', CFG, 'n:' .. ARGV[2] .. '\n' .. worker)
return count

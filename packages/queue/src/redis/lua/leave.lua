-- Puts what a worker gives up in one queue back to the head of its list, and no attempt is counted; what was to be cancelled
-- ends. A worker that leaves takes along what is kept for the repetition of its turns.
-- KEYS: those of base.lua
-- ARGV: 1 worker, 2 queue, 3 channel for ended ids, 4 '1' when it leaves; ids it may hold
-- returns: how many went back
-- Safe to repeat: only its own claims are moved.
-- @include base
-- @include links
local worker, count, now = ARGV[1], 0, clock()
for i = 5, #ARGV do
  local own = call('HGET', OWN, ARGV[i])
  if own then
    local by, prio = string.match(own, '^%d+|([^|]*)|(%d)')
    if by == worker and not end_if_cancelled(ARGV[i], own, now, ARGV[3]) then
      call('HDEL', OWN, ARGV[i])
      call('RPUSH', W[prio + 1], ARGV[i])
      count = count + 1
    end
  end
end
if count > 0 then call('ZADD', MK, 0, '0') end
if ARGV[4] == '1' then
  local row = 'n:' .. ARGV[2] .. '\n' .. worker
  call('HDEL', CFG, row .. '\n0', row .. '\n1')
end
return count

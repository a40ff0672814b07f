-- Leaves the queue and gives back a hold that was granted meanwhile.
-- KEYS: x, s, h, q, w, t. ARGV: 1 to 3 as in include/state.lua, 4 id. Returns 1 when there was a hold, else 0.
-- Safe to repeat: only this id's place and hold go, and ids are never used again.
-- @include state
local how = holds(ARGV[4], sweep())
dequeue(ARGV[4])
if how == 'exclusive' then
  redis.call('DEL', x)
elseif how == 'shared' then
  dropShared(ARGV[4])
end
pump('')
return how and 1 or 0

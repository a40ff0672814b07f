-- Ends a hold of any mode and grants to those who wait.
-- KEYS: x, s, h, q, w, t. ARGV: 1 to 3 as in include/state.lua, 4 id. Returns 1, or 0 when it was not held any more.
-- Safe to repeat: only this id's hold is ended, and ids are never used again.
-- @include state
local how = holds(ARGV[4], sweep())
if how == 'exclusive' then
  redis.call('DEL', x)
elseif how == 'shared' then
  dropShared(ARGV[4])
end
if redis.call('EXISTS', q) == 1 then
  pump('')
end
return how and 1 or 0

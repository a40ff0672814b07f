-- Extends a hold of any mode; takes more tokens when asked to.
-- KEYS: x, s, h, q, w, t. ARGV: 1 to 3 as in include/state.lua, 4 id, 5 lease, 6 block or 0.
-- Returns {held, contended, first token or 0}. Safe to repeat: the lease is set, not added to; tokens are only skipped.
-- @include state
local how = holds(ARGV[4], sweep())
if not how then
  return { 0, 0, 0 }
end
extend(ARGV[4], how, tonumber(ARGV[5]))
local block = tonumber(ARGV[6])
return { 1, contended(), block > 0 and mint(block) or 0 }

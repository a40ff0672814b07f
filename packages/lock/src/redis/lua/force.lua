-- Takes a resource from all its holders and tells them.
-- KEYS: x, s, h, q, w, t. ARGV: 1 to 3 as in include/state.lua. Returns how many there were.
-- Safe to repeat: a second run takes it from whoever has it then, which is what was asked for.
-- @include state
local value = sweep()
local holders = {}
if value and isShared(value) then
  holders = redis.call('ZRANGE', s, 0, -1)
elseif value then
  holders = { idOf(value) }
end
redis.call('DEL', x, s, h)
for _, id in ipairs(holders) do
  tell(id, 'r|' .. id)
end
pump('')
return #holders

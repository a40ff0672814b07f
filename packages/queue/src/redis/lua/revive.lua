-- Puts dead letters of one queue back, with fresh attempts.
-- KEYS: those of base.lua
-- ARGV: for each task: id, priority, group as JSON or ''
-- returns: how many were dead
-- Safe to repeat: a task that is no longer dead is left alone.
-- @include base
-- @include links
local now, count = clock(), 0
for i = 1, #ARGV, 3 do
  local id, group = ARGV[i], ARGV[i + 2]
  if call('ZREM', DEAD, id) == 1 then
    call('HDEL', RES, id)
    call('HDEL', ATT, id)
    place({ i = id, p = tonumber(ARGV[i + 1]), g = group ~= '' and cjson.decode(group) or nil }, now)
    count = count + 1
  end
end
return count

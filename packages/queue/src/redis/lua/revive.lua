-- Puts dead letters of one queue back, with fresh attempts. One whose unique key another live task has stays where it is.
-- KEYS: those of base.lua
-- ARGV: 1 queue; for each task: id, priority, group as JSON or '', unique key or ''
-- returns: how many came back
-- Safe to repeat: a task that is no longer dead is left alone.
-- @include base
-- @include links
local now, count, queue = clock(), 0, ARGV[1]
local function take_back(key, id)
  local untilMs, holder = unique_of(key)
  if holder and holder ~= id and call('HEXISTS', JOBS, holder) == 1 and call('HEXISTS', RES, holder) == 0 then
    return false
  end
  call('HSET', UQ, key, unique_value(untilMs or 0, id, '', queue))
  return true
end
for i = 2, #ARGV, 4 do
  local id, group, key = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  if call('ZSCORE', DEAD, id) and (key == '' or take_back(key, id)) then
    call('ZREM', DEAD, id)
    call('HDEL', RES, id)
    call('HDEL', ATT, id)
    place({ i = id, p = tonumber(ARGV[i + 1]), g = group ~= '' and cjson.decode(group) or nil }, now)
    count = count + 1
  end
end
return count

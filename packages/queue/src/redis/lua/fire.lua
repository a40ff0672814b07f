-- Fires a schedule once, whoever tries.
-- KEYS: those of base.lua, of the queue of its tasks; 28 definitions, 29 next times, 30 last tasks
-- ARGV: 1 id, 2 the next time as it was read, 3 the time after that or 'never', 4 '1' to skip while the last task lives,
--       5 queue; for each task: id, priority, text, group as JSON or ''
-- returns: 'fired', 'skipped' or 'raced'
-- Safe to repeat: the second run finds the next time changed.
-- @include base
-- @include links
local now = clock()
local id = ARGV[1]
local score = call('ZSCORE', KEYS[29], id)
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 'raced' end
if ARGV[3] == 'never' then
  call('ZREM', KEYS[29], id)
  call('HDEL', KEYS[28], id)
else
  call('ZADD', KEYS[29], ARGV[3], id)
end
if ARGV[4] == '1' then
  local last = call('HGET', KEYS[30], id)
  if last and call('HEXISTS', JOBS, last) == 1 and call('HEXISTS', RES, last) == 0 then return 'skipped' end
end
for i = 6, #ARGV, 4 do
  if call('HSETNX', JOBS, ARGV[i], ARGV[i + 2]) == 1 then
    local group = ARGV[i + 3]
    place({ i = ARGV[i], p = tonumber(ARGV[i + 1]), g = group ~= '' and cjson.decode(group) or nil }, now)
    call('HINCRBY', ST, 'e:' .. ARGV[5], 1)
  end
  if ARGV[3] ~= 'never' then call('HSET', KEYS[30], id, ARGV[i]) end
end
return 'fired'

-- Fires a schedule once, whoever tries.
-- KEYS: those of base.lua, of the queue of its tasks; 28 definitions, 29 next times, 30 last tasks
-- ARGV: 1 id, 2 the next time as it was read, 3 the time after that or 'never', 4 '1' to skip while the last task lives,
--       5 queue; for each task: id, priority, text, its unique rule and group as JSON, or ''
-- returns: 'fired', 'skipped' or 'raced'
-- Safe to repeat: the second run finds the next time changed.
-- @include base
-- @include links
-- @include unique
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
local last = call('HGET', KEYS[30], id)
if ARGV[3] == 'never' then call('HDEL', KEYS[30], id) end
if ARGV[4] == '1' then
  if last and call('HEXISTS', JOBS, last) == 1 and call('HEXISTS', RES, last) == 0 then return 'skipped' end
end
for i = 6, #ARGV, 4 do
  local task, blob, s = ARGV[i], ARGV[i + 2], ARGV[i + 3] ~= '' and cjson.decode(ARGV[i + 3]) or {}
  local stands = nil
  if call('HEXISTS', JOBS, task) == 0 then
    local t, waits = { i = task, p = tonumber(ARGV[i + 1]), g = s.g }, false
    if s.u then stands, waits = take_key(s, t, blob, ARGV[5], now) end
    if not stands then
      call('HSET', JOBS, task, blob)
      if not waits then place(t, now) end
      call('HINCRBY', ST, 'e:' .. ARGV[5], 1)
    end
  end
  if ARGV[3] ~= 'never' then call('HSET', KEYS[30], id, stands or task) end
end
return 'fired'

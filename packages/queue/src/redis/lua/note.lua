-- Writes progress and log lines of running tasks.
-- KEYS: 1 texts of tasks, 2 progress, 3 logs
-- ARGV: 1 how many lines are kept; for each task: id, progress or '', lines as JSON list of JSON strings or ''
-- returns: how many tasks were known
-- Safe to repeat for progress; a repeated call may write log lines twice.
local call = redis.call
local most, known = tonumber(ARGV[1]), 0
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  if call('HEXISTS', KEYS[1], id) == 1 then
    known = known + 1
    if ARGV[i + 1] ~= '' then call('HSET', KEYS[2], id, ARGV[i + 1]) end
    if ARGV[i + 2] ~= '' then
      local lines = {}
      for line in string.gmatch(call('HGET', KEYS[3], id) or '', '[^\n]+') do lines[#lines + 1] = line end
      for _, line in ipairs(cjson.decode(ARGV[i + 2])) do lines[#lines + 1] = line end
      local from = math.max(1, #lines - most + 1)
      call('HSET', KEYS[3], id, table.concat(lines, '\n', from))
    end
  end
end
return known

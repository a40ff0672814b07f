-- Writes progress and log lines of running tasks of one queue.
-- KEYS: 1 claims, 2 progress, 3 logs
-- ARGV: 1 how many lines are kept; for each task: id, token|, progress or '', lines as JSON list of JSON strings or ''
-- returns: how many claims still stand
-- Safe to repeat for progress; a repeated call may write log lines twice. A worker that lost its claim writes nothing.
local call = redis.call
local most, known = tonumber(ARGV[1]), 0
for i = 2, #ARGV, 4 do
  local id, token = ARGV[i], ARGV[i + 1]
  local own = call('HGET', KEYS[1], id)
  if own and string.sub(own, 1, #token) == token then
    known = known + 1
    if ARGV[i + 2] ~= '' then call('HSET', KEYS[2], id, ARGV[i + 2]) end
    if ARGV[i + 3] ~= '' and most > 0 then
      local lines = {}
      for line in string.gmatch(call('HGET', KEYS[3], id) or '', '[^\n]+') do lines[#lines + 1] = line end
      for _, line in ipairs(cjson.decode(ARGV[i + 3])) do lines[#lines + 1] = line end
      local from = math.max(1, #lines - most + 1)
      call('HSET', KEYS[3], id, table.concat(lines, '\n', from))
    end
  end
end
return known

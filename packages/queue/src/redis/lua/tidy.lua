-- Forgets what outlived its tasks: unique keys past their time, rates that have recovered, notes without a task.
-- KEYS: those of base.lua
-- ARGV: cursors of unique keys, rates, progress and logs
-- returns: the next cursors; '0' at the end of a round
-- Safe to repeat: only what is of no use is removed.
-- @include base
local now = clock()
local function scan(key, cursor, useless)
  local got = call('HSCAN', key, cursor, 'COUNT', 200)
  for i = 1, #got[2], 2 do
    if useless(got[2][i], got[2][i + 1]) then call('HDEL', key, got[2][i]) end
  end
  return got[1]
end
local function orphan(id) return call('HEXISTS', JOBS, id) == 0 end
return {
  scan(UQ, ARGV[1], function(_, value)
    local untilMs, holder = string.match(value, '^([^\n]*)\n([^\n]*)\n')
    return tonumber(untilMs) <= now and (orphan(holder) or call('HEXISTS', RES, holder) == 1)
  end),
  scan(GT, ARGV[2], function(key, tat) return tonumber(tat) <= now and call('HEXISTS', GA, key) == 0 end),
  scan(NOTE, ARGV[3], orphan),
  scan(LOG, ARGV[4], orphan),
}

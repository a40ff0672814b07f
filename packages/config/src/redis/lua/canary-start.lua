-- Starts a trial, unless one is running.
--
-- KEYS: 1 canary (hash), 2 reports (hash), 3 log (stream)
-- ARGV: 1 id, 2 plan (JSON), 3 length of the log
-- returns: 1 when it runs now, 0 when another does
--
-- Safe to repeat: a second run finds its own id and answers the same.
local running = redis.call('HGET', KEYS[1], 'id')
if running then
  return running == ARGV[1] and 1 or 0
end
local time = redis.call('TIME')
local at = time[1] .. string.format('%03d', math.floor(tonumber(time[2]) / 1000))
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'canary', ARGV[1])
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'plan', ARGV[2], 'at', at)
return 1

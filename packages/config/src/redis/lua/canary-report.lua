-- Notes what one instance found, if the trial is still running.
--
-- KEYS: 1 canary (hash), 2 reports (hash), 3 log (stream)
-- ARGV: 1 id, 2 instance, 3 report (JSON), 4 length of the log
-- returns: 1 when noted, 0 when the trial is over
--
-- Safe to repeat: the same report overwrites itself.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then
  return 0
end
if redis.call('HGET', KEYS[2], ARGV[2]) ~= ARGV[3] then
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'canary', ARGV[1])
end
return 1

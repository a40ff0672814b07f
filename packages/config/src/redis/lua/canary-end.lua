-- Ends a trial, if it is still the one that is meant.
--
-- KEYS: 1 canary (hash), 2 reports (hash), 3 log (stream)
-- ARGV: 1 id, 2 length of the log
-- returns: 1 when it ended now, 0 when it was over
--
-- Safe to repeat: the second run finds nothing to end.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then
  return 0
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'canary', ARGV[1])
redis.call('DEL', KEYS[1], KEYS[2])
return 1

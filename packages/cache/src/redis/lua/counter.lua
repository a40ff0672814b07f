-- Reads the version of a tag or a namespace, and keeps it alive for what depends on it.
-- KEYS 1 the counter
-- ARGV 1 how long it must live from now on, in ms
-- returns the version; a counter that is missing begins at the server's time, above all it can have been before
-- Safe to repeat: the version stays.
local version = redis.call('GET', KEYS[1])
if version then
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
  return version
end
local time = redis.call('TIME')
version = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('SET', KEYS[1], version, 'PX', ARGV[1])
return version

-- Stores a value that was given, not loaded; a load that runs loses its lease, and so cannot overwrite it.
-- KEYS 1 the entry, 2 its lease
-- ARGV 1 the value, 2 its life in ms, 3 the time of this server in ms after which it must not be stored any more
-- returns 1 stored, 0 too late: the writer has given up, and may have deleted the key since
-- Safe to repeat: the same value is stored again, until the deadline.
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[3]) then return 0 end
redis.call('UNLINK', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

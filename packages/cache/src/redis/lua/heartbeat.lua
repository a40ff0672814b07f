-- Tells the number of the last message, and the time.
-- KEYS 1 the sequence
-- ARGV none
-- returns {number, seconds, microseconds}; a sequence that is missing begins at the server's time, so that a new one is never taken
-- for one that was lost. The number is 0 when there is no memory for it.
-- Safe to repeat: the sequence stays.
local time = redis.call('TIME')
local number = redis.call('GET', KEYS[1])
if not number then
  number = string.format('%.0f', time[1] * 1000000 + time[2])
  if redis.pcall('SET', KEYS[1], number).err then number = '0' end
end
return {number, time[1], time[2]}

-- Tells all processes what was invalidated, with a number by which they notice a message that they missed.
-- KEYS 1 the sequence
-- ARGV 1 the channel, 2 the message
-- returns the number of the message, or 0 when there is no memory to count it; a sequence that was missing begins at the server's
-- time, so that a new one is never taken for one that was lost
-- Safe to repeat: it is told again.
local number = redis.pcall('INCR', KEYS[1])
if type(number) == 'table' then number = 0 end
if number == 1 then
  local time = redis.call('TIME')
  number = time[1] * 1000000 + time[2]
  redis.call('SET', KEYS[1], string.format('%.0f', number))
end
redis.call('PUBLISH', ARGV[1], string.format('%.0f', number) .. ':' .. ARGV[2])
return number

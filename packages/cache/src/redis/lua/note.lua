-- Tells all processes what was invalidated, with a number by which they notice a message that they missed.
-- KEYS 1 the sequence
-- ARGV 1 the channel, 2 the message
-- returns the number of the message, or 0 when there is no memory to count it
-- Safe to repeat: it is told again.
local number = redis.pcall('INCR', KEYS[1])
if type(number) == 'table' then number = 0 end
redis.call('PUBLISH', ARGV[1], string.format('%.0f', number) .. ':' .. ARGV[2])
return number

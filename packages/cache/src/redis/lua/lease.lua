-- Asks for the right to load a key.
-- KEYS 1 the entry, 2 its lease
-- ARGV 1 the asker's token, 2 how long the lease lasts in ms, 3 the stamp (bytes 5 to 10 and the last four) of a value that is known and
-- will not do
-- returns {1, value} there is another value, {2} granted, {3} somebody else has it
-- Safe to repeat: the holder of a token is granted its own lease again.
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 5, 10) .. string.sub(value, -4) ~= ARGV[3] then return {1, value} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {2} end
if redis.call('GET', KEYS[2]) == ARGV[1] then return {2} end
return {3}

-- Takes one place of a rate limit that all processes share (GCRA).
-- KEYS[1] the theoretical arrival time of the next call, in microseconds of the server's clock
-- ARGV[1] microseconds between two calls   ARGV[2] how far ahead of schedule a burst may be, in microseconds
-- ARGV[3] how long the caller would wait, in microseconds
-- returns { granted 0|1, microseconds to wait (granted) or until a place could be granted (refused) }
-- Safe to repeat: a repetition after a lost reply takes another place, so it can only admit less, never more.
local interval = tonumber(ARGV[1])
local tolerance = tonumber(ARGV[2])
local patience = tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local due = tonumber(redis.call('GET', KEYS[1]) or now)
if due < now then due = now end
local wait = due - tolerance - now
if wait < 0 then wait = 0 end
if wait > patience then return { 0, math.ceil(wait) } end
local theoretical = due + interval
-- %.0f: tostring() would round microseconds since the epoch to 14 digits.
redis.call('SET', KEYS[1], string.format('%.0f', theoretical), 'PX', math.ceil((theoretical - now) / 1000) + 1000)
return { 1, math.ceil(wait) }

-- Makes or changes a schedule.
-- KEYS: 1 definitions, 2 next times, 3 queues of the partition
-- ARGV: 1 id, 2 definition, 3 the definition as it was read, or '', 4 next time, 5 '1' to keep a next time that is there,
--       6 queue of its tasks, 7 channel for changed schedules
-- returns: 1, or 0 when the definition is no longer as it was read
-- Safe to repeat: the second run finds the definition that it was to write.
local call = redis.call
local id = ARGV[1]
local stored = call('HGET', KEYS[1], id)
local text = stored and cjson.decode(stored).text or ''
if text == ARGV[2] and stored then return 1 end
if text ~= ARGV[3] then return 0 end
call('HSET', KEYS[1], id, cjson.encode({ queue = ARGV[6], text = ARGV[2] }))
if ARGV[5] == '1' then
  call('ZADD', KEYS[2], 'NX', ARGV[4], id)
else
  call('ZADD', KEYS[2], ARGV[4], id)
end
call('SADD', KEYS[3], ARGV[6])
call('PUBLISH', ARGV[7], id)
return 1

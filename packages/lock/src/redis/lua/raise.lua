-- Makes later tokens of a lock larger than a given one.
-- KEYS: t. ARGV: 1 token, 2 life of the fence in ms, 0 for ever. Returns 1.
-- Safe to repeat: it only ever raises.
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
  if ARGV[2] == '0' then
    redis.call('SET', KEYS[1], ARGV[1])
  else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  end
end
return 1

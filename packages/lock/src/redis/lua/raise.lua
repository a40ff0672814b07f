-- Makes later tokens of a lock larger than a given one.
-- KEYS: t; x and h, to also write down with which token a hold was handed out. ARGV: 1 token, 2 life of the fence in ms,
-- 0 for ever; with x and h: 3 id of the hold, 4 its token. Returns 1.
-- Safe to repeat: it only ever raises, and the token of a hold is the same each time.
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
  if ARGV[2] == '0' then
    redis.call('SET', KEYS[1], ARGV[1])
  else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  end
end
if KEYS[2] then
  local value, own = redis.call('GET', KEYS[2]) or '', ARGV[3] .. '|'
  if string.sub(value, 1, #own) == own then
    local owner = string.match(string.sub(value, #own + 1), '^%d+|(.*)$')
    if owner then
      redis.call('SET', KEYS[2], own .. ARGV[4] .. '|' .. owner, 'KEEPTTL')
    end
  else
    local since, rest = string.match(redis.call('HGET', KEYS[3], ARGV[3]) or '', '^(%d+)|%d+|(.*)$')
    if since then
      redis.call('HSET', KEYS[3], ARGV[3], since .. '|' .. ARGV[4] .. '|' .. rest)
    end
  end
end
return 1

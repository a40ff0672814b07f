-- One resource. Its keys share a hash tag; a free one has none of them but (in a Cluster) the fence.
--   x  string  absent: free. "id|token|owner": exclusive (a token tells when it was made).
--              "*": shared or permits. A trailing "!": somebody queues.
--   s  zset    shared holders and holders of permits: id -> end of the lease (server, ms)
--   h  hash    the same: id -> "since|token|weight|owner"; "#" -> permits that are out
--   q  zset    waiters: id -> ticket, less priority * 2^40; an upgrade stands before all
--   w  hash    waiters: id -> "mode|lease|block|deadline|weight|limit|since|priority|owner"; "#" -> last ticket; "^" -> upgrader
--   t  string  the fence: the last token
-- Every holder of s has its own end, so that a reader who renews cannot keep a dead one alive.
local x, s, h, q, w, t = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local channel, skipDead, fenceTtl = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local CLAIM_TTL = 3000
local clock = redis.call('TIME')
local us = clock[1] * 1000000 + clock[2]
local ms = math.floor(us / 1000)

local function int(n)
  return string.format('%.0f', n)
end

-- Tokens are at least the server's clock in microseconds: they keep growing after the data was lost, or went back to an
-- older copy, as long as they are used up more slowly than that clock runs.
local function mint(block)
  local first = math.max(tonumber(redis.call('GET', t) or '0'), us) + 1
  local last = int(first + block - 1)
  if fenceTtl > 0 then
    redis.call('SET', t, last, 'PX', int(fenceTtl))
  else
    redis.call('SET', t, last)
  end
  return first
end

local function idOf(value)
  return string.match(value, '^([^|!]+)')
end

local function isShared(value)
  return string.sub(value, 1, 1) == '*'
end

local function tell(id, message)
  return redis.call('PUBLISH', channel .. string.match(id, '^(.*):'), message)
end

local function takeExclusive(id, lease, token, owner)
  redis.call('SET', x, id .. '|' .. int(token) .. '|' .. owner, 'PX', int(lease))
end

-- x, s and h live as long as the last of the holders.
local function keepShared(lease)
  local ttl = int(math.max(lease, redis.call('PTTL', x)))
  redis.call('PEXPIRE', x, ttl)
  redis.call('PEXPIRE', s, ttl)
  redis.call('PEXPIRE', h, ttl)
end

local function takeShared(id, lease, token, weight, owner, since)
  redis.call('ZADD', s, int(ms + lease), id)
  redis.call('HSET', h, id, int(since) .. '|' .. int(token) .. '|' .. int(weight) .. '|' .. owner)
  if weight > 0 then
    redis.call('HINCRBY', h, '#', int(weight))
  end
  redis.call('SET', x, '*', 'NX', 'PX', int(lease))
  keepShared(lease)
end

local function dropShared(id)
  if redis.call('ZREM', s, id) == 0 then
    return false
  end
  local weight = tonumber(string.match(redis.call('HGET', h, id) or '', '^%d+|%d+|(%d+)') or '0')
  if weight > 0 then
    redis.call('HINCRBY', h, '#', int(-weight))
  end
  redis.call('HDEL', h, id)
  if redis.call('EXISTS', s) == 0 then
    redis.call('DEL', x, h)
  end
  return true
end

-- Ends the leases that have run out. Returns x.
local function sweep()
  local value = redis.call('GET', x)
  if value and isShared(value) then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', s, '-inf', int(ms))) do
      dropShared(id)
    end
    value = redis.call('GET', x)
    if value and redis.call('EXISTS', s) == 0 then
      redis.call('DEL', x, h)
      value = false
    end
  end
  if not value then
    redis.call('DEL', s, h)
  end
  return value
end

local function fits(id, mode, weight, limit)
  local value = redis.call('GET', x)
  if not value then
    return true
  end
  if mode == 'upgrade' then
    return redis.call('ZCARD', s) == 1 and redis.call('ZSCORE', s, id)
  end
  if mode == 'exclusive' or not isShared(value) then
    return false
  end
  return mode == 'shared' or tonumber(redis.call('HGET', h, '#') or '0') + weight <= limit
end

local function enqueue(id, mode, lease, block, wait, weight, limit, priority, owner)
  local since = string.match(redis.call('HGET', w, id) or '', '^%a+|%d+|%d+|%d+|%d+|%d+|(%d+)|') or int(ms)
  redis.call(
    'HSET', w, id,
    table.concat({ mode, int(lease), int(block), int(ms + wait), int(weight), int(limit), since, int(priority), owner }, '|')
  )
  if mode == 'upgrade' then
    redis.call('HSET', w, '^', id)
    redis.call('ZADD', q, '-9007199254740991', id)
  elseif not redis.call('ZSCORE', q, id) then
    redis.call('ZADD', q, int(redis.call('HINCRBY', w, '#', 1) - priority * 1099511627776), id)
  end
  redis.call('PEXPIRE', q, int(wait * 4))
  redis.call('PEXPIRE', w, int(wait * 4))
end

local function dequeue(id)
  redis.call('ZREM', q, id)
  redis.call('HDEL', w, id)
  if redis.call('HGET', w, '^') == id then
    redis.call('HDEL', w, '^')
  end
end

-- The "!" tells the holder's release that somebody has to be granted.
local function flag()
  local value = redis.call('GET', x)
  if redis.call('EXISTS', q) == 0 then
    redis.call('DEL', w)
    if value and string.sub(value, -1) == '!' then
      redis.call('SET', x, string.sub(value, 1, -2), 'KEEPTTL')
    end
  elseif value and string.sub(value, -1) ~= '!' then
    redis.call('APPEND', x, '!')
    return value
  end
end

local function place(id, mode, lease, token, weight, owner)
  if mode == 'upgrade' then
    dropShared(id)
  end
  if mode == 'exclusive' or mode == 'upgrade' then
    takeExclusive(id, lease, token, owner)
  else
    takeShared(id, lease, token, weight, owner, ms)
  end
end

-- Grants to the head of the queue for as long as it fits. Who asks is granted by the reply, everybody else by a message
-- and with a short lease, which they have to claim. A message that nobody receives shows a dead process: it keeps its
-- place, and the next one is looked at.
local function pump(self)
  local mine = false
  local index = 0
  while index < 256 do
    local id = redis.call('ZRANGE', q, index, index)[1]
    if not id then
      break
    end
    local mode, lease, block, deadline, weight, limit, owner =
      string.match(redis.call('HGET', w, id) or '', '^(%a+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|%d+|%-?%d+|(.*)$')
    local gone = mode == 'upgrade' and not redis.call('ZSCORE', s, id)
    if not mode or gone or tonumber(deadline) < ms then
      dequeue(id)
    elseif not fits(id, mode, tonumber(weight), tonumber(limit)) then
      break
    else
      local token = mint(tonumber(block))
      lease = tonumber(lease)
      local received = 1
      if id == self then
        mine = token
      else
        lease = math.min(lease, CLAIM_TTL)
        local more = redis.call('ZCARD', q) > 1 and '1' or '0'
        received = tell(id, table.concat({ 'g', id, int(token), int(ms), int(lease), more }, '|'))
      end
      if received == 0 and skipDead then
        index = index + 1
      else
        dequeue(id)
        place(id, mode, lease, token, tonumber(weight), owner)
      end
    end
  end
  flag()
  return mine
end

-- Milliseconds until the first lease ends.
local function nextExpiry()
  local value = redis.call('GET', x)
  if not value then
    return 50
  end
  if isShared(value) then
    local first = redis.call('ZRANGE', s, 0, 0, 'WITHSCORES')
    if first[2] then
      return math.max(1, tonumber(first[2]) - ms)
    end
  end
  return math.max(1, redis.call('PTTL', x))
end

local function contended()
  return redis.call('EXISTS', q)
end

-- Of the hold `id`: 'exclusive', 'shared' (also permits) or nil, after sweep() gave `value`.
local function holds(id, value)
  if not value then
    return nil
  end
  if isShared(value) then
    return redis.call('ZSCORE', s, id) and 'shared' or nil
  end
  return idOf(value) == id and 'exclusive' or nil
end

-- Extends a hold that stands.
local function extend(id, how, lease)
  if how == 'exclusive' then
    redis.call('PEXPIRE', x, int(lease))
  else
    redis.call('ZADD', s, 'XX', int(ms + lease), id)
    keepShared(lease)
  end
end

-- A grant whose reply may have been lost: the same hold with a new token, since the counter has moved on.
local function grantAgain(id, how, lease, block, owner)
  local token = mint(block)
  extend(id, how, lease)
  if how == 'exclusive' then
    takeExclusive(id, lease, token, owner)
    flag()
  end
  return { 1, token, contended() }
end

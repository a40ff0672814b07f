-- Takes a resource, or queues for it. "Was busy" and "is queued" are one step, so no wake-up can be lost in between.
-- KEYS: x, s, h, q, w, t (include/state.lua). ARGV: 1 channel prefix, 2 skip dead waiters, 3 life of the fence, 4 id,
-- 5 mode, 6 lease, 7 block, 8 queue (1) or try (0), 9 how long a waiter counts as alive, 10 priority, 11 urgent,
-- 12 weight, 13 limit, 14 owner.
-- Returns {1, token, contended} or {0, ms until a lease can end, place in the queue or 0, server time}.
-- Safe to repeat: everything is keyed by id; a hold that stands is confirmed with a new token, a place is kept.
-- @include state
local id, mode, lease, block = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local weight, limit, owner = tonumber(ARGV[12]), tonumber(ARGV[13]), ARGV[14]
local value = sweep()
local how = holds(id, value)
if how then
  return grantAgain(id, how, lease, block, owner)
end
if redis.call('EXISTS', q) == 0 and fits(id, mode, weight, limit) then
  local token = mint(block)
  place(id, mode, lease, token, weight, owner)
  return { 1, token, 0 }
end
if ARGV[8] == '0' then
  if not value then
    pump('')
  end
  return { 0, nextExpiry(), 0, ms }
end
enqueue(id, mode, lease, block, tonumber(ARGV[9]), weight, limit, tonumber(ARGV[10]), owner)
local mine = pump(id)
if mine then
  return { 1, mine, contended() }
end
value = redis.call('GET', x)
if value and not isShared(value) then
  -- The one flag() that set the "!" ran inside pump(); a holder is told once, or again by whoever is urgent.
  if ARGV[11] == '1' or redis.call('ZCARD', q) == 1 then
    tell(idOf(value), 'c|' .. idOf(value) .. '|' .. ARGV[11])
  end
end
return { 0, nextExpiry(), redis.call('ZRANK', q, id) + 1, ms }
